//! Many short byte strings in one allocation.

#[derive(Default)]
pub struct Blob {
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl Blob {
    pub fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.ends.push(self.data.len() as u32);
    }

    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.data[start..self.ends[index] as usize]
    }
}
