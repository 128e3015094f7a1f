//! One model's text: encoding, decoding and what its ids mean. Immutable and shared between threads.

use std::path::Path;

use serde_json::Value as Json;
use tokenizers::tokenizer::{AddedVocabulary, Model, OffsetType, PreTokenizer};
use tokenizers::Tokenizer;

use crate::blob::Blob;
use crate::error::{internal, invalid, not_found, Result};
use crate::parts::Parts;
use crate::stream::Stream;
use crate::{gguf_model, hf};

/// How ids become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoding {
    /// Every token is a run of bytes; the text is their concatenation.
    Bytes,
    /// As Bytes, but the text loses one space at its beginning.
    BytesStripOneSpace,
    /// As Bytes, but the first token loses all spaces at its beginning.
    BytesStripFirstToken,
    /// Anything else: only the tokenizers crate knows, and only for whole sequences.
    Opaque,
}

pub struct TextModel {
    tokenizer: Tokenizer,
    /// The added tokens without the special ones: for text that a user wrote.
    plain_tokens: AddedVocabulary,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    pub decoding: Decoding,
    token_bytes: Blob,
    token_texts: Blob,
    special: Vec<bool>,
    pub bos_id: Option<u32>,
    pub stop_ids: Vec<i32>,
    pub named_tokens: Vec<(String, String)>,
    pub templates: Vec<(String, String)>,
}

impl TextModel {
    pub fn open(path: &Path) -> Result<TextModel> {
        if path.is_dir() {
            return TextModel::new(hf::load(path)?);
        }
        if !path.exists() {
            return Err(not_found(format!("{}: no such file or directory", path.display())));
        }
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")) {
            return TextModel::new(gguf_model::load(path)?);
        }
        Err(invalid(format!("{}: expected a directory or a .gguf file", path.display())))
    }

    pub fn new(parts: Parts) -> Result<TextModel> {
        let tokenizer = parts.tokenizer;
        let mut plain_tokens = tokenizer.get_added_vocabulary().clone();
        plain_tokens.set_encode_special_tokens(true);
        let (decoding, spelling) = decoding_of(&tokenizer);
        let tables = token_tables(&tokenizer, spelling, parts.num_ids);
        Ok(TextModel {
            tokenizer,
            plain_tokens,
            prefix: parts.prefix,
            suffix: parts.suffix,
            decoding,
            token_bytes: tables.bytes,
            token_texts: tables.texts,
            special: tables.special,
            bos_id: parts.bos_id,
            stop_ids: parts.stop_ids.into_iter().map(|id| id as i32).collect(),
            named_tokens: parts.named_tokens,
            templates: parts.templates,
        })
    }

    pub fn encode(&self, text: &str, add_special_tokens: bool, parse_special: bool) -> Result<Vec<u32>> {
        self.encode_restoring(text, add_special_tokens, parse_special, &[])
    }

    /// Encodes `text`; in what isn't a control token, each character `restore[i].0` is read as `restore[i].1`.
    pub fn encode_restoring(
        &self,
        text: &str,
        add_special_tokens: bool,
        parse_special: bool,
        restore: &[(char, char)],
    ) -> Result<Vec<u32>> {
        let failed = |e: tokenizers::Error| internal(format!("tokenizer: {e}"));
        let tokenizer = &self.tokenizer;
        let added = if parse_special { tokenizer.get_added_vocabulary() } else { &self.plain_tokens };
        let mut pieces = added.extract_and_normalize(tokenizer.get_normalizer(), text);
        if !restore.is_empty() {
            let original = |c: char| restore.iter().find(|(from, _)| *from == c).map_or(c, |(_, to)| *to);
            pieces
                .normalize(|piece| {
                    piece.map(original);
                    Ok(())
                })
                .map_err(failed)?;
        }
        if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces).map_err(failed)?;
        }
        tokenizer.get_model().tokenize_in_pretokenized(&mut pieces, None).map_err(failed)?;
        let encoding = pieces.into_encoding(None, 0, OffsetType::None).map_err(failed)?;
        let encoding = tokenizer.post_process(encoding, None, add_special_tokens).map_err(failed)?;
        if !add_special_tokens || (self.prefix.is_empty() && self.suffix.is_empty()) {
            return Ok(encoding.get_ids().to_vec());
        }
        Ok([&self.prefix, encoding.get_ids(), &self.suffix].concat())
    }

    pub fn decode(&self, ids: &[i32], skip_special_tokens: bool) -> Result<String> {
        if self.decoding == Decoding::Opaque {
            let known: Vec<u32> = ids.iter().filter(|&&id| self.knows(id)).map(|&id| id as u32).collect();
            let decoded = self.tokenizer.decode(&known, skip_special_tokens);
            return decoded.map_err(|e| internal(format!("tokenizer: {e}")));
        }
        let mut stream = Stream::new(skip_special_tokens);
        let mut text = String::new();
        for &id in ids {
            text.push_str(stream.push(self, id)?);
        }
        text.push_str(stream.flush(self)?);
        Ok(text)
    }

    pub fn num_ids(&self) -> usize {
        self.special.len()
    }

    pub fn knows(&self, id: i32) -> bool {
        usize::try_from(id).is_ok_and(|id| id < self.special.len())
    }

    pub fn is_special(&self, id: i32) -> bool {
        self.knows(id) && self.special[id as usize]
    }

    pub fn token_bytes(&self, id: i32) -> &[u8] {
        if self.knows(id) {
            self.token_bytes.get(id as usize)
        } else {
            &[]
        }
    }

    pub fn token_text(&self, id: i32) -> &[u8] {
        if self.knows(id) {
            self.token_texts.get(id as usize)
        } else {
            &[]
        }
    }

    pub fn token_id(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_to_id(text)
    }

    /// The texts of all special tokens.
    pub fn special_texts(&self) -> impl Iterator<Item = &str> {
        let added = self.tokenizer.get_added_vocabulary().get_added_tokens_decoder().values();
        added.filter(|token| token.special).map(|token| token.content.as_str())
    }
}

/// How the vocabulary writes bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// GPT-2's alphabet of 256 characters.
    ByteLevel,
    /// U+2581 for a space.
    SpaceMark,
    /// As SpaceMark, and `<0x0A>` for a byte.
    SpaceMarkAndBytes,
    Opaque,
}

fn decoding_of(tokenizer: &Tokenizer) -> (Decoding, Spelling) {
    let decoder = tokenizer.get_decoder().and_then(|d| serde_json::to_value(d).ok()).unwrap_or(Json::Null);
    let steps: Vec<&Json> = match decoder.get("decoders") {
        Some(Json::Array(list)) => list.iter().collect(),
        _ => vec![&decoder],
    };
    let kinds: Vec<&str> =
        steps.iter().map(|s| s.get("type").and_then(Json::as_str).unwrap_or_default()).collect();
    match kinds[..] {
        ["ByteLevel"] => (Decoding::Bytes, Spelling::ByteLevel),
        ["Metaspace"] if is_string(steps[0], "/replacement", "\u{2581}") => {
            let never = is_string(steps[0], "/prepend_scheme", "never");
            (if never { Decoding::Bytes } else { Decoding::BytesStripFirstToken }, Spelling::SpaceMark)
        }
        ["Replace", "ByteFallback", "Fuse"] if replaces_space_mark(steps[0]) => {
            (Decoding::Bytes, Spelling::SpaceMarkAndBytes)
        }
        ["Replace", "ByteFallback", "Fuse", "Strip"]
            if replaces_space_mark(steps[0]) && strips_one_space(steps[3]) =>
        {
            (Decoding::BytesStripOneSpace, Spelling::SpaceMarkAndBytes)
        }
        _ => (Decoding::Opaque, Spelling::Opaque),
    }
}

fn is_string(json: &Json, pointer: &str, expected: &str) -> bool {
    json.pointer(pointer).and_then(Json::as_str) == Some(expected)
}

fn replaces_space_mark(step: &Json) -> bool {
    is_string(step, "/pattern/String", "\u{2581}") && is_string(step, "/content", " ")
}

fn strips_one_space(step: &Json) -> bool {
    let number = |name: &str| step.get(name).and_then(Json::as_u64);
    is_string(step, "/content", " ") && number("start") == Some(1) && number("stop") == Some(0)
}

struct TokenTables {
    bytes: Blob,
    texts: Blob,
    special: Vec<bool>,
}

fn token_tables(tokenizer: &Tokenizer, spelling: Spelling, num_ids: usize) -> TokenTables {
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    let byte_of = byte_of_char();
    let unmap = |text: &str| {
        text.chars().map(|c| byte_of.get(c as usize).copied().flatten()).collect::<Option<Vec<u8>>>()
    };
    let mut tables =
        TokenTables { bytes: Blob::default(), texts: Blob::default(), special: Vec::with_capacity(num_ids) };
    for id in 0..num_ids as u32 {
        let added_token = added.get(&id);
        let text = match added_token {
            Some(token) => token.content.clone(),
            None => tokenizer.get_model().id_to_token(id).unwrap_or_default(),
        };
        let bytes = match spelling {
            Spelling::ByteLevel if added_token.is_some() => text.clone().into_bytes(),
            Spelling::ByteLevel => unmap(&text).unwrap_or_else(|| text.clone().into_bytes()),
            Spelling::Opaque => tokenizer.decode(&[id], false).unwrap_or_default().into_bytes(),
            Spelling::SpaceMark => text.replace('\u{2581}', " ").into_bytes(),
            Spelling::SpaceMarkAndBytes => match byte_token(&text) {
                Some(byte) => vec![byte],
                None => text.replace('\u{2581}', " ").into_bytes(),
            },
        };
        tables.bytes.push(&bytes);
        tables.texts.push(text.as_bytes());
        tables.special.push(added_token.is_some_and(|token| token.special));
    }
    tables
}

/// "<0x0A>" -> 10.
fn byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 {
        u8::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

/// GPT-2's alphabet, backwards: printable Latin-1 stands for itself, the other bytes for U+0100 and on, in order.
fn byte_of_char() -> Vec<Option<u8>> {
    let mut byte_of = vec![None; 0x100 + 68];
    let mut next = 0x100;
    for byte in 0..=255u8 {
        let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        let char = if printable {
            usize::from(byte)
        } else {
            next += 1;
            next - 1
        };
        byte_of[char] = Some(byte);
    }
    byte_of
}
