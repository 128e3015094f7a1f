//! A Hugging Face directory: tokenizer.json, tokenizer_config.json, generation_config.json, config.json, templates.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::{AddedToken, Tokenizer};

use crate::error::{invalid, io_error, not_found, unimplemented, Result};
use crate::parts::Parts;

const MAX_JSON_BYTES: u64 = 1 << 28;

pub fn load(directory: &Path) -> Result<Parts> {
    let mut tokenizer = load_tokenizer(directory)?;
    let config = read_object(&directory.join("tokenizer_config.json"))?;
    add_missing_tokens(&mut tokenizer, config.as_ref())?;

    let named_tokens = named_tokens(directory, config.as_ref())?;
    let named_id = |name: &str| {
        let text = &named_tokens.iter().find(|(n, _)| n == name)?.1;
        tokenizer.token_to_id(text)
    };
    let model_config = read_object(&directory.join("config.json"))?;
    let generation_config = read_object(&directory.join("generation_config.json"))?;
    let mut stop_ids = BTreeSet::new();
    stop_ids.extend(named_id("eos_token"));
    for source in [&generation_config, &model_config].into_iter().flatten() {
        stop_ids.extend(ids(source.get("eos_token_id")));
    }
    let mut bos_id = named_id("bos_token");
    if bos_id.is_none() && config.is_none() {
        let sources = [&generation_config, &model_config];
        bos_id = sources.into_iter().flatten().find_map(|c| ids(c.get("bos_token_id")).first().copied());
    }
    Ok(Parts {
        num_ids: num_ids(&tokenizer),
        templates: templates(directory, config.as_ref())?,
        tokenizer,
        prefix: Vec::new(),
        suffix: Vec::new(),
        bos_id,
        stop_ids,
        named_tokens,
    })
}

/// tokenizer.json of `directory`, without the truncation and padding that a training run may have left in it.
pub fn load_tokenizer(directory: &Path) -> Result<Tokenizer> {
    let path = directory.join("tokenizer.json");
    let Some(text) = read_text(&path)? else {
        if directory.join("tokenizer.model").exists() {
            return Err(unimplemented(format!(
                "{}: tokenizer.model is not read here; convert it to tokenizer.json",
                directory.display()
            )));
        }
        return Err(not_found(format!("{}: no such file", path.display())));
    };
    let mut tokenizer: Tokenizer = text.parse().map_err(|e| invalid(format!("{}: {e}", path.display())))?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|e| invalid(format!("{}: {e}", path.display())))?;
    Ok(tokenizer)
}

pub fn num_ids(tokenizer: &Tokenizer) -> usize {
    let vocab = tokenizer.get_vocab(true);
    vocab.values().max().map_or(0, |&id| id as usize + 1)
}

/// Tokens of `added_tokens_decoder` that tokenizer.json lacks, as transformers adds them.
fn add_missing_tokens(tokenizer: &mut Tokenizer, config: Option<&Map<String, Value>>) -> Result<()> {
    let Some(Value::Object(decoder)) = config.and_then(|c| c.get("added_tokens_decoder")) else {
        return Ok(());
    };
    let mut missing: Vec<(u32, AddedToken)> = Vec::new();
    let known = tokenizer.get_added_tokens_decoder();
    for (id, token) in decoder {
        let Ok(id) = id.parse::<u32>() else { continue };
        let Some(content) = token.get("content").and_then(Value::as_str) else { continue };
        if known.get(&id).is_some_and(|t| t.content == content) {
            continue;
        }
        let flag = |name: &str, default: bool| token.get(name).and_then(Value::as_bool).unwrap_or(default);
        let special = flag("special", false);
        let added = AddedToken::from(content, special)
            .single_word(flag("single_word", false))
            .lstrip(flag("lstrip", false))
            .rstrip(flag("rstrip", false))
            .normalized(flag("normalized", !special));
        missing.push((id, added));
    }
    missing.sort_by_key(|(id, _)| *id);
    let tokens: Vec<AddedToken> = missing.into_iter().map(|(_, token)| token).collect();
    tokenizer.add_tokens(tokens).map_err(|e| invalid(format!("added_tokens_decoder: {e}")))?;
    Ok(())
}

/// All `xxx_token` entries with a text, of tokenizer_config.json and, where that lacks one, special_tokens_map.json.
fn named_tokens(directory: &Path, config: Option<&Map<String, Value>>) -> Result<Vec<(String, String)>> {
    let older = read_object(&directory.join("special_tokens_map.json"))?;
    let mut named: Vec<(String, String)> = Vec::new();
    for source in [config, older.as_ref()].into_iter().flatten() {
        for (name, value) in source {
            let text = value.as_str().or_else(|| value.get("content").and_then(Value::as_str));
            let Some(text) = text else { continue };
            if name.ends_with("_token") && !named.iter().any(|(n, _)| n == name) {
                named.push((name.clone(), text.to_string()));
            }
        }
    }
    // A token that is explicitly null has no older spelling either.
    if let Some(config) = config {
        named.retain(|(name, _)| !config.get(name).is_some_and(Value::is_null));
    }
    Ok(named)
}

fn templates(directory: &Path, config: Option<&Map<String, Value>>) -> Result<Vec<(String, String)>> {
    let mut templates: Vec<(String, String)> = Vec::new();
    match config.and_then(|c| c.get("chat_template")) {
        Some(Value::String(source)) => templates.push(("default".to_string(), source.clone())),
        Some(Value::Array(list)) => {
            for item in list {
                let name = item.get("name").and_then(Value::as_str);
                let source = item.get("template").and_then(Value::as_str);
                if let (Some(name), Some(source)) = (name, source) {
                    templates.push((name.to_string(), source.to_string()));
                }
            }
        }
        _ => {}
    }
    // Files win over the entry: as soon as there is one file, only files count.
    let mut from_files: Vec<(String, String)> = Vec::new();
    if let Some(source) = read_text(&directory.join("chat_template.jinja"))? {
        from_files.push(("default".to_string(), source));
    }
    let additional = directory.join("additional_chat_templates");
    if let Ok(entries) = std::fs::read_dir(&additional) {
        for entry in entries.flatten() {
            let path = entry.path();
            let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_string();
            if path.extension().is_some_and(|e| e == "jinja") {
                if let Some(source) = read_text(&path)? {
                    from_files.push((name, source));
                }
            }
        }
    }
    Ok(if from_files.is_empty() { templates } else { from_files })
}

fn ids(value: Option<&Value>) -> Vec<u32> {
    let one = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn read_object(path: &Path) -> Result<Option<Map<String, Value>>> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(_) => Err(invalid(format!("{}: expected a JSON object", path.display()))),
        Err(e) => Err(invalid(format!("{}: {e}", path.display()))),
    }
}

fn read_text(path: &Path) -> Result<Option<String>> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_JSON_BYTES => {
            Err(invalid(format!("{}: {} bytes, at most {MAX_JSON_BYTES}", path.display(), metadata.len())))
        }
        Ok(_) => std::fs::read_to_string(path).map(Some).map_err(|e| io_error(path, &e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error(path, &e)),
    }
}
