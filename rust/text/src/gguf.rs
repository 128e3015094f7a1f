//! The metadata of a GGUF file, as far as text needs it. Lengths come from the file and are not trusted: nothing
//! is allocated beyond what the file can hold.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::error::{invalid, io_error, Result};

const MAX_KEYS: u64 = 1 << 20;
const MAX_KEY_BYTES: u64 = 1 << 16;
const MAX_STRING_BYTES: u64 = 1 << 24;
const MAX_ARRAY_ITEMS: u64 = 1 << 24;

const TYPE_STRING: u32 = 8;
const TYPE_ARRAY: u32 = 9;

#[derive(Clone, Debug)]
pub enum Value {
    Int(i64),
    Bool(bool),
    String(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<String>),
}

/// The key-value pairs whose keys start with one of the wanted prefixes.
#[derive(Debug, Default)]
pub struct Metadata {
    values: HashMap<String, Value>,
}

impl Metadata {
    /// Reads the header and the metadata of `path`; other keys are skipped unread.
    pub fn read(path: &Path, wanted_prefixes: &[&str]) -> Result<Metadata> {
        let file = File::open(path).map_err(|e| io_error(path, &e))?;
        let size = file.metadata().map_err(|e| io_error(path, &e))?.len();
        let mut reader = Reader { input: BufReader::with_capacity(1 << 18, file), position: 0, size, path };
        reader.read_metadata(wanted_prefixes)
    }

    pub fn string(&self, key: &str) -> Option<&str> {
        match self.values.get(key) {
            Some(Value::String(s)) => Some(s),
            _ => None,
        }
    }

    pub fn int(&self, key: &str) -> Option<i64> {
        match self.values.get(key) {
            Some(Value::Int(i)) => Some(*i),
            _ => None,
        }
    }

    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.values.get(key) {
            Some(Value::Bool(b)) => Some(*b),
            Some(Value::Int(i)) => Some(*i != 0),
            _ => None,
        }
    }

    pub fn strings(&self, key: &str) -> Option<&[String]> {
        match self.values.get(key) {
            Some(Value::Strings(s)) => Some(s),
            _ => None,
        }
    }

    pub fn ints(&self, key: &str) -> Option<&[i64]> {
        match self.values.get(key) {
            Some(Value::Ints(i)) => Some(i),
            _ => None,
        }
    }

    pub fn floats(&self, key: &str) -> Option<&[f32]> {
        match self.values.get(key) {
            Some(Value::Floats(f)) => Some(f),
            _ => None,
        }
    }
}

struct Reader<'a> {
    input: BufReader<File>,
    position: u64,
    size: u64,
    path: &'a Path,
}

impl Reader<'_> {
    fn read_metadata(&mut self, wanted_prefixes: &[&str]) -> Result<Metadata> {
        let magic = self.bytes(4)?;
        if magic != b"GGUF" {
            return Err(self.damaged("it does not begin with GGUF"));
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(self.damaged(&format!("version {version}, expected 2 or 3 (little-endian)")));
        }
        self.u64()?; // number of tensors
        let num_keys = self.u64()?;
        if num_keys > MAX_KEYS {
            return Err(self.damaged(&format!("{num_keys} metadata keys, at most {MAX_KEYS} are plausible")));
        }
        let mut metadata = Metadata::default();
        for _ in 0..num_keys {
            let key = self.string(MAX_KEY_BYTES)?;
            let kind = self.u32()?;
            if wanted_prefixes.iter().any(|prefix| key.starts_with(prefix)) {
                let value = self.value(kind, &key)?;
                metadata.values.insert(key, value);
            } else {
                self.skip_value(kind, &key)?;
            }
        }
        Ok(metadata)
    }

    fn value(&mut self, kind: u32, key: &str) -> Result<Value> {
        match kind {
            TYPE_STRING => Ok(Value::String(self.string(MAX_STRING_BYTES)?)),
            TYPE_ARRAY => self.array(key),
            6 => Ok(Value::Floats(vec![f32::from_bits(self.u32()?)])),
            12 => Ok(Value::Floats(vec![f64::from_bits(self.u64()?) as f32])),
            7 => Ok(Value::Bool(self.bytes(1)?[0] != 0)),
            _ => Ok(Value::Int(self.int(kind, key)?)),
        }
    }

    fn array(&mut self, key: &str) -> Result<Value> {
        let (kind, count) = self.array_header(key)?;
        match kind {
            TYPE_STRING => {
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.string(MAX_STRING_BYTES)?);
                }
                Ok(Value::Strings(items))
            }
            6 => {
                let bytes = self.bytes(count * 4)?;
                let float = |c: &[u8]| f32::from_le_bytes([c[0], c[1], c[2], c[3]]);
                Ok(Value::Floats(bytes.chunks_exact(4).map(float).collect()))
            }
            12 => {
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(f64::from_bits(self.u64()?) as f32);
                }
                Ok(Value::Floats(items))
            }
            _ => {
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.int(kind, key)?);
                }
                Ok(Value::Ints(items))
            }
        }
    }

    fn array_header(&mut self, key: &str) -> Result<(u32, u64)> {
        let kind = self.u32()?;
        let count = self.u64()?;
        let item_size = match kind {
            TYPE_STRING => 8, // at least its length
            _ => self.scalar_size(kind, key)?,
        };
        if count > MAX_ARRAY_ITEMS || count * item_size > self.size - self.position {
            return Err(self.damaged(&format!("{key} claims {count} items, more than the file holds")));
        }
        Ok((kind, count))
    }

    fn skip_value(&mut self, kind: u32, key: &str) -> Result<()> {
        match kind {
            TYPE_STRING => self.skip_string(),
            TYPE_ARRAY => {
                let (kind, count) = self.array_header(key)?;
                if kind != TYPE_STRING {
                    let size = self.scalar_size(kind, key)?;
                    return self.skip(count * size);
                }
                for _ in 0..count {
                    self.skip_string()?;
                }
                Ok(())
            }
            _ => {
                let size = self.scalar_size(kind, key)?;
                self.skip(size)
            }
        }
    }

    fn scalar_size(&self, kind: u32, key: &str) -> Result<u64> {
        match kind {
            0 | 1 | 7 => Ok(1),
            2 | 3 => Ok(2),
            4..=6 => Ok(4),
            10..=12 => Ok(8),
            _ => Err(self.damaged(&format!("{key} has the value type {kind}, which is not known here"))),
        }
    }

    fn int(&mut self, kind: u32, key: &str) -> Result<i64> {
        Ok(match kind {
            0 | 7 => i64::from(self.bytes(1)?[0]),
            1 => i64::from(self.bytes(1)?[0] as i8),
            2 => i64::from(self.u16()?),
            3 => i64::from(self.u16()? as i16),
            4 => i64::from(self.u32()?),
            5 => i64::from(self.u32()? as i32),
            10 => self.u64()?.min(i64::MAX as u64) as i64,
            11 => self.u64()? as i64,
            _ => return Err(self.damaged(&format!("{key} has the value type {kind}, expected an integer"))),
        })
    }

    fn string(&mut self, max_bytes: u64) -> Result<String> {
        let length = self.u64()?;
        if length > max_bytes {
            return Err(
                self.damaged(&format!("a string of {length} bytes, at most {max_bytes} are plausible"))
            );
        }
        let bytes = self.bytes(length)?;
        String::from_utf8(bytes).map_err(|_| self.damaged("a string that is not UTF-8"))
    }

    fn skip_string(&mut self) -> Result<()> {
        let length = self.u64()?;
        self.skip(length)
    }

    fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        if count > self.size - self.position {
            return Err(self.damaged("the metadata ends early"));
        }
        let mut bytes = vec![0; count as usize];
        self.input.read_exact(&mut bytes).map_err(|e| io_error(self.path, &e))?;
        self.position += count;
        Ok(bytes)
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        if count > self.size - self.position {
            return Err(self.damaged("the metadata ends early"));
        }
        self.input.seek_relative(count as i64).map_err(|e| io_error(self.path, &e))?;
        self.position += count;
        Ok(())
    }

    fn u16(&mut self) -> Result<u16> {
        let b = self.bytes(2)?;
        Ok(u16::from_le_bytes([b[0], b[1]]))
    }

    fn u32(&mut self) -> Result<u32> {
        let b = self.bytes(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn u64(&mut self) -> Result<u64> {
        let b = self.bytes(8)?;
        Ok(u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
    }

    fn damaged(&self, what: &str) -> crate::error::TextError {
        invalid(format!("{}: damaged GGUF metadata near byte {}: {what}", self.path.display(), self.position))
    }
}
