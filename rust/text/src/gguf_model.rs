//! Text parts of a GGUF file: its own vocabulary, or a tokenizer.json beside it that agrees with it.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as DecoderSequence;
use tokenizers::decoders::strip::Strip;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::Replace;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::normalizers::utils::Sequence as NormalizerSequence;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{AddedToken, Tokenizer};

use crate::error::{invalid, not_found, unimplemented, Result};
use crate::gguf::Metadata;
use crate::hf;
use crate::parts::Parts;
use crate::pre_tokenizers;

const KEY_MODEL: &str = "tokenizer.ggml.model";
const KEY_PRE: &str = "tokenizer.ggml.pre";
const KEY_TOKENS: &str = "tokenizer.ggml.tokens";

const TYPE_NORMAL: i64 = 1;
const TYPE_UNKNOWN: i64 = 2;
const TYPE_CONTROL: i64 = 3;
const TYPE_USER_DEFINED: i64 = 4;
const TYPE_UNUSED: i64 = 5;

/// SentencePiece's mark for a space.
const SPACE_MARK: &str = "\u{2581}";

struct Vocabulary<'a> {
    file: &'a Path,
    metadata: &'a Metadata,
    tokens: &'a [String],
    types: Vec<i64>,
}

pub fn load(file: &Path) -> Result<Parts> {
    let metadata = Metadata::read(file, &["tokenizer."])?;
    let vocabulary = Vocabulary::new(file, &metadata)?;
    let directory = file.parent().unwrap_or(Path::new("."));
    let (tokenizer, add_bos, add_eos) = match vocabulary.tokenizer_beside(directory)? {
        // Its post-processor says what is added around a text.
        Some(beside) => (beside, false, false),
        None => vocabulary.build()?,
    };
    let bos_id = vocabulary.id("bos");
    let eos_id = vocabulary.id("eos");
    let stop_ids: BTreeSet<u32> =
        ["eos", "eot", "eom"].into_iter().filter_map(|n| vocabulary.id(n)).collect();
    Ok(Parts {
        num_ids: vocabulary.tokens.len().max(hf::num_ids(&tokenizer)),
        tokenizer,
        prefix: bos_id.filter(|_| add_bos).into_iter().collect(),
        suffix: eos_id.filter(|_| add_eos).into_iter().collect(),
        bos_id,
        stop_ids,
        named_tokens: vocabulary.named_tokens(),
        templates: vocabulary.templates(),
    })
}

impl<'a> Vocabulary<'a> {
    fn new(file: &'a Path, metadata: &'a Metadata) -> Result<Vocabulary<'a>> {
        let Some(tokens) = metadata.strings(KEY_TOKENS) else {
            return Err(not_found(format!("{}: no {KEY_TOKENS}: the file has no tokenizer", file.display())));
        };
        let types = match metadata.ints("tokenizer.ggml.token_type") {
            Some(types) if types.len() == tokens.len() => types.to_vec(),
            Some(types) => {
                return Err(invalid(format!(
                    "{}: {} token types for {} tokens",
                    file.display(),
                    types.len(),
                    tokens.len()
                )))
            }
            None => vec![TYPE_NORMAL; tokens.len()],
        };
        Ok(Vocabulary { file, metadata, tokens, types })
    }

    /// The tokenizer, and whether BOS and EOS are added around a text.
    fn build(&self) -> Result<(Tokenizer, bool, bool)> {
        match self.metadata.string(KEY_MODEL) {
            Some("gpt2") => self.build_byte_level(),
            Some("llama") => self.build_sentence_piece(),
            other => Err(unimplemented(format!(
                "{}: {KEY_MODEL} is {:?}; known here are gpt2 and llama. A tokenizer.json beside the file is used \
                 if its vocabulary agrees",
                self.file.display(),
                other.unwrap_or("missing")
            ))),
        }
    }

    fn build_byte_level(&self) -> Result<(Tokenizer, bool, bool)> {
        let pre = self.metadata.string(KEY_PRE).unwrap_or("missing");
        let Some(recipe) = pre_tokenizers::find(pre) else {
            return Err(unimplemented(format!(
                "{}: {KEY_PRE} is {pre:?}; known here are {}. A tokenizer.json beside the file is used if its \
                 vocabulary agrees",
                self.file.display(),
                pre_tokenizers::names()
            )));
        };
        let vocab = self.vocab();
        let merges = self.merges(&vocab)?;
        let model = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(recipe.ignore_merges)
            .build()
            .map_err(|e| self.damaged(&e.to_string()))?;
        let mut tokenizer = Tokenizer::new(model);
        if recipe.nfc {
            tokenizer.with_normalizer(Some(NFC)).map_err(|e| self.damaged(&e.to_string()))?;
        }
        tokenizer.with_pre_tokenizer(Some(recipe.pre_tokenizer()?));
        tokenizer.with_decoder(Some(ByteLevel::new(false, true, true)));
        self.add_tokens(&mut tokenizer)?;
        Ok((tokenizer, self.add_bos(recipe.add_bos), self.add_eos()))
    }

    fn build_sentence_piece(&self) -> Result<(Tokenizer, bool, bool)> {
        let Some(scores) = self.metadata.floats("tokenizer.ggml.scores") else {
            return Err(self.damaged("the llama tokenizer has no tokenizer.ggml.scores"));
        };
        if scores.len() != self.tokens.len() {
            return Err(self.damaged(&format!("{} scores for {} tokens", scores.len(), self.tokens.len())));
        }
        let add_space_prefix = self.metadata.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true);
        let vocab = self.vocab();
        let merges = self.merges_from_scores(&vocab, scores);
        let mut builder = BPE::builder().vocab_and_merges(vocab, merges).fuse_unk(true).byte_fallback(true);
        if let Some(id) = self.id("unknown").or_else(|| self.first_of_type(TYPE_UNKNOWN)) {
            builder = builder.unk_token(self.tokens[id as usize].clone());
        }
        let mut tokenizer = Tokenizer::new(builder.build().map_err(|e| self.damaged(&e.to_string()))?);

        let failed = |e: tokenizers::Error| self.damaged(&e.to_string());
        let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
        if add_space_prefix {
            normalizers.push(Prepend::new(SPACE_MARK.to_string()).into());
        }
        normalizers.push(Replace::new(" ", SPACE_MARK).map_err(failed)?.into());
        tokenizer.with_normalizer(Some(NormalizerSequence::new(normalizers))).map_err(failed)?;
        tokenizer.with_pre_tokenizer(None::<PreTokenizerWrapper>);
        let mut decoders: Vec<DecoderWrapper> = vec![
            Replace::new(SPACE_MARK, " ").map_err(failed)?.into(),
            ByteFallback::new().into(),
            Fuse::new().into(),
        ];
        if add_space_prefix {
            decoders.push(Strip::new(' ', 1, 0).into());
        }
        tokenizer.with_decoder(Some(DecoderSequence::new(decoders)));
        self.add_tokens(&mut tokenizer)?;
        Ok((tokenizer, self.add_bos(true), self.add_eos()))
    }

    fn vocab(&self) -> ahash::AHashMap<String, u32> {
        let mut vocab = ahash::AHashMap::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate() {
            vocab.entry(token.clone()).or_insert(id as u32);
        }
        vocab
    }

    fn merges(&self, vocab: &ahash::AHashMap<String, u32>) -> Result<Vec<(String, String)>> {
        let Some(lines) = self.metadata.strings("tokenizer.ggml.merges") else {
            return Err(self.damaged("the gpt2 tokenizer has no tokenizer.ggml.merges"));
        };
        let mut merges = Vec::with_capacity(lines.len());
        for line in lines {
            // A token may begin with a space in vocabularies that don't map bytes; never is one empty.
            let first = line.chars().next().map_or(0, char::len_utf8);
            let Some(space) = line[first..].find(' ').map(|at| at + first) else {
                return Err(self.damaged(&format!("merge {line:?} is not two tokens")));
            };
            let (left, right) = (&line[..space], &line[space + 1..]);
            let merged = format!("{left}{right}");
            if ![left, right, &merged].iter().all(|token| vocab.contains_key(*token)) {
                return Err(self.damaged(&format!("merge {line:?} uses a token that the vocabulary lacks")));
            }
            merges.push((left.to_string(), right.to_string()));
        }
        Ok(merges)
    }

    /// SentencePiece joins the neighbours whose joint has the highest score. As ranked merges: every way to cut a
    /// token into two tokens, the token with the highest score first; for one token the pair with lower ids first.
    fn merges_from_scores(
        &self,
        vocab: &ahash::AHashMap<String, u32>,
        scores: &[f32],
    ) -> Vec<(String, String)> {
        let mergeable =
            |id: u32| matches!(self.types[id as usize], TYPE_NORMAL | TYPE_UNUSED | TYPE_USER_DEFINED);
        let mut ranked: Vec<(u32, u32, u32)> = Vec::new(); // joint, left, right
        for (joint, token) in self.tokens.iter().enumerate() {
            if !mergeable(joint as u32) || vocab.get(token) != Some(&(joint as u32)) {
                continue;
            }
            for (cut, _) in token.char_indices().skip(1) {
                let pair = (vocab.get(&token[..cut]), vocab.get(&token[cut..]));
                if let (Some(&left), Some(&right)) = pair {
                    if mergeable(left) && mergeable(right) {
                        ranked.push((joint as u32, left, right));
                    }
                }
            }
        }
        ranked.sort_by(|a, b| {
            let by_score = scores[b.0 as usize].total_cmp(&scores[a.0 as usize]);
            by_score.then(a.0.cmp(&b.0)).then((a.1, a.2).cmp(&(b.1, b.2)))
        });
        let text = |id: u32| self.tokens[id as usize].clone();
        ranked.into_iter().map(|(_, left, right)| (text(left), text(right))).collect()
    }

    /// Control tokens are special (no text for a reader); user-defined ones are matched in any text but are text.
    fn add_tokens(&self, tokenizer: &mut Tokenizer) -> Result<()> {
        let mut added = Vec::new();
        for (token, &kind) in self.tokens.iter().zip(&self.types) {
            let special = matches!(kind, TYPE_CONTROL | TYPE_UNKNOWN);
            if (special || kind == TYPE_USER_DEFINED) && !token.is_empty() {
                added.push(AddedToken::from(token.clone(), special).normalized(false));
            }
        }
        tokenizer.add_tokens(added).map_err(|e| self.damaged(&e.to_string()))?;
        Ok(())
    }

    /// The tokenizer.json beside the file, if every token of it has the same id here.
    fn tokenizer_beside(&self, directory: &Path) -> Result<Option<Tokenizer>> {
        if !directory.join("tokenizer.json").exists() {
            return Ok(None);
        }
        let tokenizer = hf::load_tokenizer(directory)?;
        let ids: HashMap<&str, usize> =
            self.tokens.iter().enumerate().map(|(id, t)| (t.as_str(), id)).collect();
        let vocab = tokenizer.get_vocab(true);
        let agrees = vocab.iter().all(|(token, &id)| ids.get(token.as_str()) == Some(&(id as usize)));
        // Padding rows aside, the file may not know more tokens than tokenizer.json.
        let known = self.types.iter().filter(|&&kind| kind != TYPE_UNUSED).count();
        Ok((agrees && vocab.len() >= known).then_some(tokenizer))
    }

    fn id(&self, name: &str) -> Option<u32> {
        let id = self.metadata.int(&format!("tokenizer.ggml.{name}_token_id"))?;
        usize::try_from(id).ok().filter(|&id| id < self.tokens.len()).map(|id| id as u32)
    }

    fn first_of_type(&self, kind: i64) -> Option<u32> {
        self.types.iter().position(|&t| t == kind).map(|id| id as u32)
    }

    fn add_bos(&self, default: bool) -> bool {
        self.metadata.bool("tokenizer.ggml.add_bos_token").unwrap_or(default)
    }

    fn add_eos(&self) -> bool {
        self.metadata.bool("tokenizer.ggml.add_eos_token").unwrap_or(false)
    }

    fn named_tokens(&self) -> Vec<(String, String)> {
        let names = [
            ("bos", "bos_token"),
            ("eos", "eos_token"),
            ("unknown", "unk_token"),
            ("padding", "pad_token"),
            ("seperator", "sep_token"), // sic: the key of the format
            ("cls", "cls_token"),
            ("mask", "mask_token"),
        ];
        let text = |name: &str| self.id(name).map(|id| self.tokens[id as usize].clone());
        names.into_iter().filter_map(|(key, name)| Some((name.to_string(), text(key)?))).collect()
    }

    fn templates(&self) -> Vec<(String, String)> {
        let mut templates = Vec::new();
        if let Some(source) = self.metadata.string("tokenizer.chat_template") {
            templates.push(("default".to_string(), source.to_string()));
        }
        for name in self.metadata.strings("tokenizer.chat_templates").unwrap_or_default() {
            if let Some(source) = self.metadata.string(&format!("tokenizer.chat_template.{name}")) {
                templates.push((name.clone(), source.to_string()));
            }
        }
        templates
    }

    fn damaged(&self, what: &str) -> crate::error::TextError {
        invalid(format!("{}: {what}", self.file.display()))
    }
}
