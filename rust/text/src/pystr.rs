//! Methods of Python's str that minijinja's own compatibility layer lacks or does differently.

use minijinja::value::from_args;
use minijinja::{Error, Value};

/// The result of `text.name(*args)`, or None if the method isn't one of these.
pub fn call(text: &str, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    match name {
        "title" => Some(Ok(Value::from(title(text)))),
        "removeprefix" => {
            Some(one(args).map(|prefix| Value::from(text.strip_prefix(&*prefix).unwrap_or(text))))
        }
        "removesuffix" => {
            Some(one(args).map(|suffix| Value::from(text.strip_suffix(&*suffix).unwrap_or(text))))
        }
        "partition" => Some(one(args).map(|sep| partition(text, text.find(&*sep), sep.len(), false))),
        "rpartition" => Some(one(args).map(|sep| partition(text, text.rfind(&*sep), sep.len(), true))),
        "rsplit" => Some(rsplit(text, args)),
        _ => None,
    }
}

fn one(args: &[Value]) -> Result<String, Error> {
    let (argument,): (String,) = from_args(args)?;
    Ok(argument)
}

/// Every run of letters begins with a capital and goes on in small letters.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

fn partition(text: &str, at: Option<usize>, size: usize, rest_in_front: bool) -> Value {
    let parts = match at {
        Some(at) => [&text[..at], &text[at..at + size], &text[at + size..]],
        None if rest_in_front => ["", "", text],
        None => [text, "", ""],
    };
    parts.into_iter().map(Value::from).collect()
}

fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, max): (Option<String>, Option<i64>) = from_args(args)?;
    let limit = usize::try_from(max.unwrap_or(-1)).map_or(usize::MAX, |max| max.saturating_add(1));
    let mut parts: Vec<&str> = Vec::new();
    match separator {
        Some(separator) => parts.extend(text.rsplitn(limit, &*separator)),
        None => {
            let mut rest = text.trim_end();
            while !rest.is_empty() {
                let cut = if parts.len() + 1 < limit { rest.rfind(char::is_whitespace) } else { None };
                let start = cut.map_or(0, |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
                parts.push(if cut.is_some() { &rest[start..] } else { rest.trim_start() });
                rest = cut.map_or("", |at| rest[..at].trim_end());
            }
        }
    }
    Ok(parts.into_iter().rev().map(Value::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str, name: &str, args: &[Value]) -> String {
        call(text, name, args).unwrap().unwrap().to_string()
    }

    #[test]
    fn methods_do_what_python_does() {
        let v = |text: &str| Value::from(text);
        assert_eq!(title("they're a-b_c 1st"), "They'Re A-B_C 1St");
        assert_eq!(list("a.b.c", "partition", &[v(".")]), "['a', '.', 'b.c']");
        assert_eq!(list("a.b.c", "rpartition", &[v(".")]), "['a.b', '.', 'c']");
        assert_eq!(list("abc", "rpartition", &[v(".")]), "['', '', 'abc']");
        assert_eq!(list("a.b.c", "rsplit", &[v("."), Value::from(1)]), "['a.b', 'c']");
        assert_eq!(list(" a  b c ", "rsplit", &[]), "['a', 'b', 'c']");
        assert_eq!(list(" a  b c ", "rsplit", &[Value::from(()), Value::from(1)]), "['a  b', 'c']");
        assert_eq!(list("abc", "removeprefix", &[v("a")]), "bc");
        assert_eq!(list("abc", "removesuffix", &[v("x")]), "abc");
    }
}
