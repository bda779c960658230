//! A nested list of texts: lists of one depth and of equal lengths.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

/// The most dimensions: images, channels, height, width.
const MAX_RANK: usize = 4;

/// The shape and the texts, in row-major order.
#[derive(Debug)]
pub(super) struct Nested<'a> {
    pub shape: Vec<usize>,
    pub leaves: Vec<Cow<'a, str>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Nested<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut found = Found { leaves: Vec::new(), lengths: [None; MAX_RANK], rank: None };
        Level { found: &mut found, depth: 0 }.deserialize(deserializer)?;
        let rank = found.rank.unwrap_or(0);
        if rank == 0 {
            return Err(D::Error::custom("data: a nested list of ciphertexts is needed"));
        }
        Ok(Self {
            shape: found.lengths[..rank].iter().map(|length| length.unwrap_or(0)).collect(),
            leaves: found.leaves,
        })
    }
}

/// What has been read so far.
struct Found<'a> {
    leaves: Vec<Cow<'a, str>>,
    /// of the lists at each depth, once the first has ended
    lengths: [Option<usize>; MAX_RANK],
    /// the depth of the leaves
    rank: Option<usize>,
}

impl<'a> Found<'a> {
    fn leaf<E: serde::de::Error>(&mut self, depth: usize, text: Cow<'a, str>) -> Result<(), E> {
        if *self.rank.get_or_insert(depth) != depth {
            return Err(E::custom("data: leaves at different depths"));
        }
        self.leaves.push(text);
        Ok(())
    }
}

/// One list or leaf.
struct Level<'s, 'a> {
    found: &'s mut Found<'a>,
    depth: usize,
}

impl<'de: 'a, 'a> DeserializeSeed<'de> for Level<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Level<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a nested list of ciphertexts in base64")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<(), E> {
        self.found.leaf(self.depth, Cow::Borrowed(text))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.found.leaf(self.depth, Cow::Owned(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if self.depth == MAX_RANK {
            return Err(A::Error::custom(format!("data: more than {MAX_RANK} dimensions")));
        }
        let mut count = 0;
        while items.next_element_seed(Level { found: &mut *self.found, depth: self.depth + 1 })?.is_some() {
            count += 1;
        }
        if count == 0 || *self.found.lengths[self.depth].get_or_insert(count) != count {
            return Err(A::Error::custom("data: an empty list, or lists of different lengths"));
        }
        Ok(())
    }
}

/// Appends a nested list of texts that need no escapes.
pub(super) fn write(out: &mut Vec<u8>, shape: &[usize], leaves: &[String]) {
    let Some((&length, inner)) = shape.split_first() else {
        out.push(b'"');
        out.extend_from_slice(leaves[0].as_bytes());
        out.push(b'"');
        return;
    };
    out.push(b'[');
    for (i, own) in leaves.chunks(leaves.len() / length).enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        write(out, inner, own);
    }
    out.push(b']');
}
