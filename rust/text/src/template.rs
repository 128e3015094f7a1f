//! Chat templates, in the environment that transformers' apply_chat_template gives them.

use std::ffi::CString;
use std::sync::Arc;

use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::{Map, Value as Json};

use crate::error::{internal, invalid, not_found, Result, TextError};
use crate::guard::{ControlTexts, Guard};
use crate::model::TextModel;
use crate::{pyjson, pystr};

/// Instructions that one rendering may execute: far above any real template, and over in seconds.
const FUEL: u64 = 20_000_000;
const RECURSION_LIMIT: usize = 200;

pub struct ChatTemplate {
    model: Arc<TextModel>,
    environment: Environment<'static>,
    control_texts: ControlTexts,
}

pub struct Input<'a> {
    pub messages: &'a str,
    pub tools: Option<&'a str>,
    pub kwargs: Option<&'a str>,
    pub add_generation_prompt: bool,
    pub template_name: Option<&'a str>,
}

/// What `raise_exception` raised.
#[derive(Debug)]
struct Raised(String);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

struct Variables {
    messages: Json,
    tools: Json,
    kwargs: Map<String, Json>,
}

impl ChatTemplate {
    /// `source`: a template instead of the model's own.
    pub fn new(model: Arc<TextModel>, source: Option<&str>) -> Result<ChatTemplate> {
        let mut environment = environment()?;
        let own: &[(String, String)] = if source.is_some() { &[] } else { &model.templates };
        let overriding = source.map(|source| ("default".to_string(), source.to_string()));
        for (name, source) in own.iter().chain(overriding.iter()) {
            environment
                .add_template_owned(name.clone(), without_generation_tags(source))
                .map_err(|e| invalid(format!("chat template: {e}")))?;
        }
        if environment.templates().next().is_none() {
            return Err(not_found("the model has no chat template; give one, or use plain completions"));
        }
        let control_texts = ControlTexts::new(model.special_texts())?;
        Ok(ChatTemplate { model, environment, control_texts })
    }

    pub fn render(&self, input: &Input) -> Result<String> {
        self.render_variables(input, Variables::parse(input)?)
    }

    /// The ids of the rendered chat: the template's control tokens are control tokens, the user's are text.
    pub fn encode(&self, input: &Input) -> Result<Vec<u32>> {
        let mut variables = Variables::parse(input)?;
        let mut kwargs = Json::Object(std::mem::take(&mut variables.kwargs));
        let guard = Guard::new(&self.control_texts, &[&variables.messages, &variables.tools, &kwargs]);
        let mut guarded = guard.apply(&mut variables.messages);
        guarded |= guard.apply(&mut variables.tools);
        guarded |= guard.apply(&mut kwargs);
        if let Json::Object(kwargs) = kwargs {
            variables.kwargs = kwargs;
        }
        let text = self.render_variables(input, variables)?;
        let restore = if guarded { guard.stand_ins() } else { &[] };
        self.model.encode_restoring(&text, false, true, restore)
    }

    fn render_variables(&self, input: &Input, variables: Variables) -> Result<String> {
        let has_tools = variables.tools.as_array().is_some_and(|tools| !tools.is_empty());
        let name = match input.template_name {
            Some(name) => name,
            None if has_tools && self.environment.get_template("tool_use").is_ok() => "tool_use",
            None => "default",
        };
        let Ok(template) = self.environment.get_template(name) else {
            let mut names: Vec<&str> = self.environment.templates().map(|(name, _)| name).collect();
            names.sort_unstable();
            return Err(not_found(format!("no chat template {name:?}; the model has {}", names.join(", "))));
        };
        let mut context: Vec<(String, Value)> = Vec::new();
        for (name, text) in &self.model.named_tokens {
            context.push((name.clone(), Value::from(text.as_str())));
        }
        context.push(("documents".to_string(), Value::from(())));
        context.extend(variables.kwargs.iter().map(|(name, value)| (name.clone(), to_value(value))));
        context.push(("messages".to_string(), to_value(&variables.messages)));
        context.push(("tools".to_string(), to_value(&variables.tools)));
        context.push(("add_generation_prompt".to_string(), Value::from(input.add_generation_prompt)));
        template.render(Value::from_pairs(context)).map_err(|e| render_error(&e))
    }
}

impl Variables {
    fn parse(input: &Input) -> Result<Variables> {
        let parse = |what: &str, text: &str| -> Result<Json> {
            serde_json::from_str(text).map_err(|e| invalid(format!("{what}: {e}")))
        };
        let mut messages = parse("messages", input.messages)?;
        let Some(list) = messages.as_array_mut() else {
            return Err(invalid("messages: expected an array"));
        };
        for message in list {
            let Some(message) = message.as_object_mut() else {
                return Err(invalid("messages: expected an array of objects"));
            };
            alias_reasoning(message);
        }
        let tools = input.tools.map_or(Ok(Json::Null), |text| parse("tools", text))?;
        let kwargs = match input.kwargs.map_or(Ok(Json::Null), |text| parse("chat_template_kwargs", text))? {
            Json::Object(kwargs) => kwargs,
            Json::Null => Map::new(),
            _ => return Err(invalid("chat_template_kwargs: expected an object")),
        };
        for name in ["messages", "tools", "add_generation_prompt"] {
            if kwargs.contains_key(name) {
                return Err(invalid(format!("chat_template_kwargs: {name} has its own field")));
            }
        }
        Ok(Variables { messages, tools, kwargs })
    }
}

/// Templates read a model's thoughts under several names; as transformers does, each gets the one that is there.
fn alias_reasoning(message: &mut Map<String, Json>) {
    let names = ["reasoning_content", "thinking", "reasoning"];
    let Some(reasoning) = names.iter().find_map(|name| message.get(*name).filter(|v| !v.is_null())).cloned()
    else {
        return;
    };
    if !message.contains_key("thinking") {
        message.insert("thinking".to_string(), reasoning.clone());
    }
    message.insert("reasoning_content".to_string(), reasoning);
}

fn to_value(json: &Json) -> Value {
    Value::from(Serde(json))
}

fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    let syntax = minijinja::syntax::SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .map_err(|e| internal(format!("chat template: {e}")))?;
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_recursion_limit(RECURSION_LIMIT);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(method);
    environment.set_formatter(|out, state, value| match float_text(value) {
        Some(text) => out.write_str(&text).map_err(Error::from),
        None => minijinja::escape_formatter(out, state, value),
    });
    environment.add_filter("tojson", tojson);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    Ok(environment)
}

fn float_text(value: &Value) -> Option<String> {
    if value.kind() != ValueKind::Number || value.is_integer() {
        return None;
    }
    f64::try_from(value.clone()).ok().map(pyjson::float_repr)
}

/// Python's methods of strings, lists and dicts.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> std::result::Result<Value, Error> {
    let own = value.as_str().and_then(|text| pystr::call(text, name, args));
    own.unwrap_or_else(|| unknown_method_callback(state, value, name, args))
}

fn tojson(value: &Value, ensure_ascii: Option<bool>, kwargs: Kwargs) -> std::result::Result<String, Error> {
    let named: Option<bool> = kwargs.get("ensure_ascii")?;
    let indent: Option<Value> = kwargs.get("indent")?;
    let indent = match indent.filter(|v| !v.is_none()) {
        Some(value) => match value.as_str() {
            Some(text) => Some(text.to_string()),
            None => Some(" ".repeat(usize::try_from(value)?.min(64))),
        },
        None => None,
    };
    let separators: Option<Value> = kwargs.get("separators")?;
    let separators: Option<Vec<Value>> = match separators.filter(|v| !v.is_none()) {
        Some(pair) => Some(pair.try_iter()?.collect()),
        None => None,
    };
    let separator = |index: usize, default: &str| match &separators {
        Some(pair) => pair.get(index).map_or_else(|| default.to_string(), Value::to_string),
        None => default.to_string(),
    };
    let style = pyjson::Style {
        item_separator: separator(0, if indent.is_some() { "," } else { ", " }),
        key_separator: separator(1, ": "),
        indent,
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ensure_ascii: ensure_ascii.or(named).unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    pyjson::dumps(value, &style)
}

fn raise_exception(message: String) -> std::result::Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

/// The local time, as C's strftime writes it.
fn strftime_now(format: &str) -> std::result::Result<String, Error> {
    let failed = || Error::new(ErrorKind::InvalidOperation, format!("strftime_now: bad format {format:?}"));
    if format.is_empty() {
        return Ok(String::new());
    }
    let format = CString::new(format).map_err(|_| failed())?;
    let mut buffer = vec![0u8; 4096];
    // SAFETY: `now` and `local` are valid for writes, the buffer's true size is given, format ends in NUL.
    let length = unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        let now = libc::time(std::ptr::null_mut());
        if libc::localtime_r(&now, &mut local).is_null() {
            return Err(failed());
        }
        libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), format.as_ptr(), &local)
    };
    buffer.truncate(length);
    String::from_utf8(buffer).map_err(|_| failed())
}

fn render_error(error: &Error) -> TextError {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(cause) = source {
        if let Some(raised) = cause.downcast_ref::<Raised>() {
            return invalid(raised.0.clone());
        }
        source = cause.source();
    }
    invalid(format!("chat template: {error}"))
}

/// `{% generation %}` marks what transformers trains on; here it is a block that always holds.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let inner = &tag[2..tag.len() - 2];
        match inner.trim_matches(|c: char| matches!(c, '-' | '+') || c.is_whitespace()) {
            "generation" => out.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endif")),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_tags_become_blocks() {
        let source =
            "{% if a %}{%- generation -%}x{%+ endgeneration %}{% endif %} generation {% set x = '%}' %}";
        let expected = "{% if a %}{%- if true -%}x{%+ endif %}{% endif %} generation {% set x = '%}' %}";
        assert_eq!(without_generation_tags(source), expected);
    }

    fn render(source: &str) -> std::result::Result<String, Error> {
        environment().unwrap().render_named_str("t", source, Value::from(()))
    }

    #[test]
    fn values_print_as_in_python() {
        assert_eq!(
            render("{{ 1e-5 }} {{ none }} {{ true }} {{ [1, 'a'] }}").unwrap(),
            "1e-05 None True [1, 'a']"
        );
        assert_eq!(render("{{ 'abc'.removeprefix('a') }}{{ 'abc'.upper() }}").unwrap(), "bcABC");
        assert_eq!(
            render("{{ {'b': '<é\\n>', 'a': [1.0, none, true]} | tojson }}").unwrap(),
            "{\"b\": \"<é\\n>\", \"a\": [1.0, null, true]}"
        );
        assert_eq!(
            render("{{ {'b': [], 'a': [1]} | tojson(indent=2, sort_keys=true) }}").unwrap(),
            "{\n  \"a\": [\n    1\n  ],\n  \"b\": []\n}"
        );
    }

    #[test]
    fn endless_work_is_cut_off() {
        let source = "{% for a in range(10000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}";
        assert!(render(source).is_err());
        assert!(render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").is_err());
    }
}
