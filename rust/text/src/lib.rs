//! Tokenizers and chat templates behind a C interface; `include/phx_text.h` is its contract.

pub mod error;
pub mod model;
pub mod template;

mod blob;
mod ffi;
mod gguf;
mod gguf_model;
mod guard;
mod hf;
mod parts;
mod pre_tokenizers;
mod pyjson;
mod pystr;
mod stream;

pub use stream::Stream;
