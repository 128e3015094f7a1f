//! What went wrong, with the code that the C interface returns.

use std::fmt;

/// Codes of `phx_text_code` in the C header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    InvalidArgument = 1,
    NotFound = 2,
    Unimplemented = 3,
    Internal = 4,
}

#[derive(Clone, Debug)]
pub struct TextError {
    pub code: Code,
    pub message: String,
}

pub type Result<T> = std::result::Result<T, TextError>;

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

pub fn invalid(message: impl Into<String>) -> TextError {
    TextError { code: Code::InvalidArgument, message: message.into() }
}

pub fn not_found(message: impl Into<String>) -> TextError {
    TextError { code: Code::NotFound, message: message.into() }
}

pub fn unimplemented(message: impl Into<String>) -> TextError {
    TextError { code: Code::Unimplemented, message: message.into() }
}

pub fn internal(message: impl Into<String>) -> TextError {
    TextError { code: Code::Internal, message: message.into() }
}

/// The error of an operation on a file: missing files are NotFound, the rest Internal.
pub fn io_error(path: &std::path::Path, error: &std::io::Error) -> TextError {
    let message = format!("{}: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::NotFound => not_found(message),
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => invalid(message),
        _ => internal(message),
    }
}
