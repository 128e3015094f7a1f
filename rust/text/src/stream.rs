//! Text of a growing sequence. Emits whole characters only, and what it emits adds up to the decoding of the whole.

use crate::error::{internal, Result};
use crate::model::{Decoding, TextModel};

/// Opaque decoders end a character that isn't complete with U+FFFD. After so many tokens it is taken as real.
const MAX_UNFINISHED_TOKENS: usize = 8;

pub struct Stream {
    skip_special_tokens: bool,
    /// Whether the beginning of the text, which may lose a space, is still to come.
    at_start: bool,
    /// The beginning of a character: at most 3 bytes.
    tail: Vec<u8>,
    /// What the last call returned.
    text: String,
    window: Window,
}

/// For opaque decoders: tokens since `start` are decoded again and again; those before `emitted` are out already.
#[derive(Default)]
struct Window {
    ids: Vec<i32>,
    emitted: usize,
    emitted_bytes: usize,
}

impl Stream {
    pub fn new(skip_special_tokens: bool) -> Stream {
        Stream {
            skip_special_tokens,
            at_start: true,
            tail: Vec::new(),
            text: String::new(),
            window: Window::default(),
        }
    }

    pub fn push(&mut self, model: &TextModel, id: i32) -> Result<&str> {
        self.text.clear();
        if !model.knows(id) || (self.skip_special_tokens && model.is_special(id)) {
            return Ok(&self.text);
        }
        if model.decoding == Decoding::Opaque {
            self.window.ids.push(id);
            self.emit_window(model, false)?;
            return Ok(&self.text);
        }
        let mut bytes = model.token_bytes(id);
        if self.at_start && !bytes.is_empty() {
            self.at_start = false;
            match model.decoding {
                Decoding::BytesStripOneSpace => bytes = bytes.strip_prefix(b" ").unwrap_or(bytes),
                Decoding::BytesStripFirstToken => {
                    let first = bytes.iter().position(|&b| b != b' ').unwrap_or(bytes.len());
                    bytes = &bytes[first..];
                }
                _ => {}
            }
        }
        self.tail.extend_from_slice(bytes);
        self.move_complete();
        Ok(&self.text)
    }

    /// The rest; the stream is as new afterwards.
    pub fn flush(&mut self, model: &TextModel) -> Result<&str> {
        self.text.clear();
        if model.decoding == Decoding::Opaque {
            self.emit_window(model, true)?;
        } else if !self.tail.is_empty() {
            self.text.push('\u{fffd}');
        }
        self.tail.clear();
        self.window = Window::default();
        self.at_start = true;
        Ok(&self.text)
    }

    /// Moves what is certain from `tail` to `text`; bytes that can't become a character turn into U+FFFD.
    fn move_complete(&mut self) {
        let mut rest = &self.tail[..];
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    self.text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.text.push_str(&String::from_utf8_lossy(valid));
                    let Some(bad) = error.error_len() else {
                        rest = after;
                        break;
                    };
                    self.text.push('\u{fffd}');
                    rest = &after[bad..];
                }
            }
        }
        let done = self.tail.len() - rest.len();
        self.tail.drain(..done);
    }

    fn emit_window(&mut self, model: &TextModel, last: bool) -> Result<()> {
        let window = &mut self.window;
        let decoded = model.decode(&window.ids, self.skip_special_tokens)?;
        let unfinished =
            decoded.ends_with('\u{fffd}') && window.ids.len() - window.emitted < MAX_UNFINISHED_TOKENS;
        if (unfinished && !last) || decoded.len() <= window.emitted_bytes {
            return Ok(());
        }
        let Some(new) = decoded.get(window.emitted_bytes..) else {
            return Err(internal("the decoder changed text that it had given before"));
        };
        self.text.push_str(new);
        // The tokens of the last emission stay as context for the next.
        window.ids.drain(..window.emitted);
        window.emitted = window.ids.len();
        window.emitted_bytes = model.decode(&window.ids, self.skip_special_tokens)?.len();
        Ok(())
    }
}
