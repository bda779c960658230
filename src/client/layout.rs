//! How the values of images and answers stand in plaintexts, for each layout.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::encoding::{CkksEncoder, FractionalEncoder};
use crate::error::Result;
use crate::plan::envelope::Identity;
use crate::plan::packed::exact::interface::ExactEncoder;
use crate::plan::{batched, packed, per_value};
use crate::scheme::Plaintext;

/// The rotations of layouts that rotate nothing.
static NO_ROTATIONS: BTreeMap<usize, usize> = BTreeMap::new();

/// A program's client's part with its encoder.
#[derive(Debug)]
pub enum Layout {
    /// whole images in the slots of a ciphertext
    Packed(packed::Interface, CkksEncoder),
    /// the same on integers: BFV, a ciphertext for each plaintext modulus
    Exact(packed::exact::ExactInterface, ExactEncoder),
    /// one value of many images in a ciphertext
    Batched(batched::Interface, CkksEncoder),
    /// one value of one image in a ciphertext
    PerValue(per_value::Interface, FractionalEncoder),
}

impl Layout {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Packed(part, _) => part.to_bytes(),
            Self::Exact(part, _) => part.to_bytes(),
            Self::Batched(part, _) => part.to_bytes(),
            Self::PerValue(part, _) => part.to_bytes(),
        }
    }

    /// What tells the program from others.
    pub fn program(&self) -> &Identity {
        match self {
            Self::Packed(part, _) => &part.arrangement.program,
            Self::Exact(part, _) => &part.arrangement.program,
            Self::Batched(part, _) => &part.program,
            Self::PerValue(part, _) => &part.program,
        }
    }

    /// The shapes of one image and of one answer.
    pub fn shapes(&self) -> [&[usize]; 2] {
        match self {
            Self::Packed(part, _) => part.arrangement.shapes(),
            Self::Exact(part, _) => part.arrangement.shapes(),
            Self::Batched(part, _) => [&part.input_shape, &part.output_shape],
            Self::PerValue(part, _) => [&part.input_shape, &part.output_shape],
        }
    }

    /// Images that one run takes.
    pub fn capacity(&self) -> usize {
        match self {
            Self::Packed(part, _) => part.arrangement.images,
            Self::Exact(part, _) => part.arrangement.images,
            Self::Batched(part, _) => part.capacity(),
            Self::PerValue(..) => 1,
        }
    }

    /// The level of the relinearization key, where one is needed, and the rotations with theirs.
    pub fn keys(&self) -> (Option<usize>, &BTreeMap<usize, usize>) {
        match self {
            Self::Packed(part, _) => part.arrangement.keys(),
            Self::Exact(part, _) => part.arrangement.keys(),
            Self::Batched(..) | Self::PerValue(..) => (None, &NO_ROTATIONS),
        }
    }

    /// Ciphertexts of the images of one run, modulo each plaintext modulus.
    pub(super) fn image_ciphertexts(&self) -> usize {
        match self {
            Self::Packed(..) | Self::Exact(..) => 1,
            Self::Batched(..) | Self::PerValue(..) => self.shapes()[0].iter().product(),
        }
    }

    /// Ciphertexts of an answer, modulo each plaintext modulus.
    pub(super) fn answer_ciphertexts(&self) -> usize {
        match self {
            Self::Packed(..) | Self::Exact(..) => 1,
            Self::Batched(..) | Self::PerValue(..) => self.shapes()[1].iter().product(),
        }
    }

    /// Flattened images as the plaintexts of one run, for each context of the client, encoded on the rayon pool of the caller.
    pub(super) fn encode(&self, images: &[f64]) -> Result<Vec<Vec<Plaintext>>> {
        let plaintexts = match self {
            Self::Exact(part, encoder) => {
                return Ok(encoder.encode(part, images)?.into_iter().map(|plaintext| vec![plaintext]).collect());
            }
            Self::Packed(part, encoder) => {
                let slots = part.slots_of(images)?;
                vec![encoder.encode(&slots, part.input_scale, part.arrangement.parameters.data_moduli().len())?]
            }
            Self::Batched(part, encoder) => part.encode(encoder, images)?,
            Self::PerValue(part, encoder) => part.encode(encoder, images)?,
        };
        Ok(vec![plaintexts])
    }

    /// The answers to `count` images in the plaintexts of one run, those of each context one after the other, flattened.
    pub(super) fn decode(&self, plaintexts: &[Plaintext], count: usize) -> Result<Vec<f64>> {
        match self {
            Self::Packed(part, encoder) => {
                let slots = plaintexts.iter().map(|plaintext| encoder.decode(plaintext)).collect::<Result<Vec<_>>>()?;
                Ok(slots.iter().flat_map(|slots| part.answers_in(slots, count)).collect())
            }
            Self::Exact(part, encoder) => encoder.decode(part, plaintexts, count),
            Self::Batched(_, encoder) => {
                let columns: Vec<Vec<f64>> =
                    plaintexts.par_iter().map(|plaintext| encoder.decode(plaintext)).collect::<Result<_>>()?;
                Ok((0..count).flat_map(|image| columns.iter().map(move |column| column[image])).collect())
            }
            Self::PerValue(_, encoder) => {
                plaintexts.par_iter().map(|plaintext| encoder.decode_checked(plaintext)).collect()
            }
        }
    }
}
