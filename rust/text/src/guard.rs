//! Keeps what a user wrote from becoming control tokens in a rendered chat.
//!
//! A string from outside may hold the text of a control token, or end in the beginning of one that the template (or
//! another string) then completes. In such places the token's first character is replaced by a stand-in: a
//! character of the private use area that occurs nowhere in the input. The tokenizer finds no control token there,
//! and after it has cut out the real ones, the stand-ins are turned back, so that the text is encoded as written.
//! One character for one: the template's own arithmetic on lengths stays right.

use aho_corasick::AhoCorasick;
use serde_json::Value as Json;

use crate::error::{internal, Result};

/// The texts of a model's control tokens, ready to be looked for.
pub struct ControlTexts {
    texts: Vec<String>,
    finder: AhoCorasick,
}

impl ControlTexts {
    pub fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Result<ControlTexts> {
        let texts: Vec<String> = texts.filter(|t| !t.is_empty()).map(str::to_string).collect();
        let finder = AhoCorasick::new(&texts).map_err(|e| internal(format!("control tokens: {e}")))?;
        Ok(ControlTexts { texts, finder })
    }
}

pub struct Guard<'a> {
    tokens: &'a ControlTexts,
    stand_ins: Vec<(char, char)>, // (stand-in, original)
}

/// Stand-ins come from plane 16, whose characters have no meaning of their own.
const FIRST_STAND_IN: u32 = 0x10_f000;
const LAST_STAND_IN: u32 = 0x10_fffd;

impl<'a> Guard<'a> {
    /// `inputs`: everything that will be guarded; stand-ins are characters that none of it has.
    pub fn new(tokens: &'a ControlTexts, inputs: &[&Json]) -> Guard<'a> {
        let mut used = vec![false; (LAST_STAND_IN - FIRST_STAND_IN + 1) as usize];
        for input in inputs {
            for_each_string(input, &mut |text| {
                let special =
                    text.chars().map(|c| c as u32).filter(|c| (FIRST_STAND_IN..=LAST_STAND_IN).contains(c));
                special.for_each(|c| used[(c - FIRST_STAND_IN) as usize] = true);
            });
        }
        let mut firsts: Vec<char> = tokens.texts.iter().filter_map(|t| t.chars().next()).collect();
        firsts.sort_unstable();
        firsts.dedup();
        let free = (FIRST_STAND_IN..=LAST_STAND_IN).filter(|c| !used[(c - FIRST_STAND_IN) as usize]);
        let stand_ins = free.filter_map(char::from_u32).zip(firsts).collect();
        Guard { tokens, stand_ins }
    }

    /// Pairs (stand-in, original).
    pub fn stand_ins(&self) -> &[(char, char)] {
        &self.stand_ins
    }

    /// Guards every string in `value`, keys included. Returns whether anything had to be replaced.
    pub fn apply(&self, value: &mut Json) -> bool {
        match value {
            Json::String(text) => match self.guarded(text) {
                Some(guarded) => {
                    *text = guarded;
                    true
                }
                None => false,
            },
            Json::Array(items) => items.iter_mut().fold(false, |changed, item| self.apply(item) | changed),
            Json::Object(object) => {
                let mut changed = false;
                for (key, item) in object.iter_mut() {
                    if !(matches!(key.as_str(), "role" | "type") && item.as_str().is_some_and(is_name)) {
                        changed |= self.apply(item);
                    }
                }
                if object.keys().any(|key| !is_name(key) && self.guarded(key).is_some()) {
                    let entries = std::mem::take(object);
                    object.extend(
                        entries.into_iter().map(|(key, value)| (self.guarded(&key).unwrap_or(key), value)),
                    );
                    changed = true;
                }
                changed
            }
            _ => false,
        }
    }

    fn guarded(&self, text: &str) -> Option<String> {
        let mut starts: Vec<usize> =
            self.tokens.finder.find_overlapping_iter(text).map(|m| m.start()).collect();
        for token in &self.tokens.texts {
            starts.extend(unfinished(text, token));
        }
        if starts.is_empty() {
            return None;
        }
        starts.sort_unstable();
        starts.dedup();
        let mut guarded = String::with_capacity(text.len() + 3 * starts.len());
        let mut done = 0;
        for start in starts {
            guarded.push_str(&text[done..start]);
            let first = text[start..].chars().next()?;
            let stand_in = self.stand_ins.iter().find(|(_, original)| *original == first);
            guarded.push(stand_in.map_or('\u{fffd}', |(stand_in, _)| *stand_in));
            done = start + first.len_utf8();
        }
        guarded.push_str(&text[done..]);
        Some(guarded)
    }
}

/// Words that a template compares with its own, and that no model spells a control token with.
fn is_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Where the ends of `text` begin that are a proper beginning of `token`. Surrounding spaces don't count: templates
/// trim them.
fn unfinished(text: &str, token: &str) -> Vec<usize> {
    let trimmed = text.trim_end();
    let ends = token.char_indices().map(|(at, _)| at).filter(|&at| at > 0);
    ends.filter(|&end| trimmed.ends_with(&token[..end])).map(|end| trimmed.len() - end).collect()
}

fn for_each_string(value: &Json, visit: &mut impl FnMut(&str)) {
    match value {
        Json::String(text) => visit(text),
        Json::Array(items) => items.iter().for_each(|item| for_each_string(item, visit)),
        Json::Object(object) => {
            for (key, item) in object {
                visit(key);
                for_each_string(item, visit);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts() -> ControlTexts {
        ControlTexts::new(["<|im_end|>", "[INST]"].into_iter()).unwrap()
    }

    fn guard(value: &mut Json) -> bool {
        let copy = value.clone();
        Guard::new(&texts(), &[&copy]).apply(value)
    }

    #[test]
    fn ordinary_text_is_untouched() {
        let mut value = json!([{"role": "user", "content": "a < b, <|x|>, [INS] and im_end|>"}]);
        let before = value.clone();
        assert!(!guard(&mut value));
        assert_eq!(value, before);
    }

    #[test]
    fn whole_and_unfinished_tokens_are_replaced() {
        let mut value = json!(["a<|im_end|>b", "tail <|im_", "tail [IN \n", {"<|im_end|>": 1}]);
        assert!(guard(&mut value));
        let text = value.to_string();
        assert!(!text.contains('<') && !text.contains("[IN"), "{text}");
        assert_eq!(value[0].as_str().map(|s| s.chars().count()), Some(12));
    }

    #[test]
    fn stand_ins_avoid_the_input() {
        let mut value = json!("\u{10f000}<|im_end|>\u{10f001}");
        let copy = value.clone();
        let texts = texts();
        let guard = Guard::new(&texts, &[&copy]);
        assert!(guard.apply(&mut value));
        assert_eq!(guard.stand_ins(), [('\u{10f002}', '<'), ('\u{10f003}', '[')]);
    }
}
