//! What a model's files say about text, whatever their format.

use std::collections::BTreeSet;

use tokenizers::Tokenizer;

pub struct Parts {
    pub tokenizer: Tokenizer,
    /// Put before and after a text if special tokens are asked for, where the tokenizer has no post-processor that
    /// does it (GGUF).
    pub prefix: Vec<u32>,
    pub suffix: Vec<u32>,
    /// One more than the largest id.
    pub num_ids: usize,
    pub bos_id: Option<u32>,
    pub stop_ids: BTreeSet<u32>,
    /// Variables of chat templates: ("bos_token", "<s>"), ...
    pub named_tokens: Vec<(String, String)>,
    /// (name, source); "default" is the one used without a name.
    pub templates: Vec<(String, String)>,
}
