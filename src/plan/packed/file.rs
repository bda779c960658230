//! Packed programs as bytes: the server's form with the weights, the client's without.
//!
//! ```text
//! magic "pycrcnn" and 0    8 bytes
//! version                  u16
//! kind                     u16: 1 the server's program, 2 the client's part
//! length of what follows   u64, uncompressed
//! checksum of that         u32, CRC-32
//! postcard, compressed     zstd
//! ```
//! Integers are little-endian. What is read is checked like everything from outside: sizes before memory is taken, every
//! slot, rotation and shape before it is used.

use std::io::Read;

use blake2::digest::{Update, VariableOutput};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::interface::Interface;
use super::plan::{Plan, Step};
use crate::encryption::checksum::checksum;
use crate::error::{Error, Result};
use crate::scheme::Parameters;

const MAGIC: [u8; 8] = *b"pycrcnn\0";
const VERSION: u16 = 1;
const HEADER: usize = 24; // bytes before the compressed body

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u16)]
enum Kind {
    Program = 1,
    Client = 2,
}

/// Bytes that tell one program from another.
pub type Identity = [u8; 32];

/// [`Interface`] as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    degree: usize,
    moduli: Vec<u64>,
    security: u32,
    shapes: [Vec<usize>; 2],
    images: usize,
    input: Vec<Vec<u32>>,
    output: Vec<u32>,
    factors: [f64; 2],
    scales: [f64; 2],
    rotations: Vec<(usize, usize)>,
    relinearization: Option<usize>,
    program: Identity,
}

impl Plan {
    /// The program with its weights: the server's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        seal(Kind::Program, &(written(&self.interface), &self.steps))
    }

    /// A program from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], and errors of the parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        let (interface, steps): (Written, Vec<Step>) = open(Kind::Program, bytes, limit)?;
        let plan = Self { interface: read(interface)?, steps };
        plan.check()?;
        Ok(plan)
    }

    /// Whether slots, rotations and levels are such as a plan may have.
    fn check(&self) -> Result<()> {
        let n = self.interface.parameters.degree() / 2;
        let entries = |entries: &[super::matching::Entry]| {
            entries.iter().all(|entry| (entry.slot as usize) < n && entry.weight.is_finite())
        };
        let sound = |step: &Step| match step {
            Step::Sum { rotations } => rotations.iter().all(|&rotation| rotation < n) && !rotations.is_empty(),
            Step::Square => true,
            Step::Linear { groups, bias } => {
                let group = |group: &super::plan::DiagonalGroup| {
                    group.giant < n && group.diagonals.iter().all(|(baby, weights)| *baby < n && entries(weights))
                };
                groups.iter().all(group) && entries(bias)
            }
        };
        let divisions = self.steps.iter().filter(|step| !matches!(step, Step::Sum { .. })).count();
        let data = self.interface.parameters.data_moduli().len();
        ensure(self.steps.iter().all(sound), "a step names slots or rotations that the ring does not have")?;
        ensure(divisions < data, "its steps divide more often than it has primes")?;
        let (rotations, relinearization) = self.keys();
        let keys = rotations == self.interface.rotations && relinearization == self.interface.relinearization;
        ensure(keys, "its steps use other keys than it asks for")
    }
}

impl Interface {
    /// The client's file: everything but the weights.
    pub fn to_bytes(&self) -> Vec<u8> {
        seal(Kind::Client, &written(self))
    }

    /// A client's part from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], and errors of the parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        read(open(Kind::Client, bytes, limit)?)
    }
}

/// What tells a program from others: BLAKE2b-256 of everything that it computes with.
pub(super) fn identity(plan: &Plan) -> Identity {
    let mut hash = blake2::Blake2bVar::new(32).expect("32 bytes is a BLAKE2b output size");
    let unnamed = Interface { program: Identity::default(), ..plan.interface.clone() };
    hash.update(&encoded(&(written(&unnamed), &plan.steps)));
    let mut identity = Identity::default();
    hash.finalize_variable(&mut identity).expect("the buffer has the output's size");
    identity
}

fn written(interface: &Interface) -> Written {
    Written {
        degree: interface.parameters.degree(),
        moduli: interface.parameters.moduli().to_vec(),
        security: interface.security,
        shapes: [interface.input_shape.clone(), interface.output_shape.clone()],
        images: interface.images,
        input: interface.input.clone(),
        output: interface.output.clone(),
        factors: [interface.input_factor, interface.output_factor],
        scales: [interface.input_scale, interface.output_scale],
        rotations: interface.rotations.iter().map(|(&rotation, &primes)| (rotation, primes)).collect(),
        relinearization: interface.relinearization,
        program: interface.program,
    }
}

fn read(written: Written) -> Result<Interface> {
    let parameters = Parameters::ckks(written.degree, written.moduli, true)?;
    parameters.check_security(written.security)?;
    let n = parameters.degree() / 2;
    let data = parameters.data_moduli().len();
    let [input_shape, output_shape] = written.shapes;
    let values = |shape: &[usize]| shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
    ensure(values(&input_shape) == Some(written.input.len()), "the input's shape does not fit its slots")?;
    ensure(values(&output_shape) == Some(written.output.len()), "the output's shape does not fit its slots")?;
    let images = written.images;
    ensure(images.is_power_of_two() && images <= n, "the number of images is no power of two that fits")?;
    let inside = |&slot: &u32| (slot as usize) < n / images;
    ensure(written.input.iter().flatten().chain(&written.output).all(inside), "a slot lies outside its image's")?;
    let positive = |x: &f64| x.is_finite() && *x > 0.0;
    ensure(written.factors.iter().chain(&written.scales).all(positive), "a factor or scale is not positive")?;
    let served = |primes: usize| (1..=data).contains(&primes);
    let rotation = |&(rotation, primes): &(usize, usize)| (1..n).contains(&rotation) && served(primes);
    ensure(written.rotations.iter().all(rotation), "a rotation or its level does not exist")?;
    ensure(written.relinearization.is_none_or(served), "the relinearization key's level does not exist")?;
    Ok(Interface {
        parameters,
        security: written.security,
        input_shape,
        output_shape,
        images,
        input: written.input,
        output: written.output,
        input_factor: written.factors[0],
        output_factor: written.factors[1],
        input_scale: written.scales[0],
        output_scale: written.scales[1],
        rotations: written.rotations.into_iter().collect(),
        relinearization: written.relinearization,
        program: written.program,
    })
}

fn malformed(offset: usize, reason: impl Into<String>) -> Error {
    Error::Malformed { object: "program file", offset, reason: reason.into() }
}

fn ensure(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(malformed(HEADER, otherwise)) }
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("numbers and sequences are always encoded")
}

fn seal(kind: Kind, value: &impl Serialize) -> Vec<u8> {
    let body = encoded(value);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((kind as u16).to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(checksum(&body).to_le_bytes());
    bytes.extend(zstd::encode_all(body.as_slice(), 3).expect("compressing in memory does not fail"));
    bytes
}

fn open<T: DeserializeOwned>(kind: Kind, bytes: &[u8], limit: u64) -> Result<T> {
    let header: &[u8; HEADER] =
        bytes.first_chunk().ok_or_else(|| malformed(bytes.len(), "it ends within its header"))?;
    let number =
        |from: usize, len: usize| header[from..from + len].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
    if header[..8] != MAGIC {
        return Err(malformed(0, "this is no program of pycrcnn"));
    }
    if number(8, 2) != u64::from(VERSION) {
        let reason =
            format!("it has version {}, this library reads version {VERSION}; compile the model again", number(8, 2));
        return Err(malformed(8, reason));
    }
    if number(10, 2) != kind as u64 {
        let wanted = if kind == Kind::Program { "a server's program" } else { "a client's part" };
        return Err(malformed(10, format!("{wanted} is needed, this is the other file")));
    }
    let length = number(12, 8);
    if length > limit {
        return Err(Error::TooLarge { object: "program file", size: length, limit });
    }
    let mut body = Vec::new();
    let broken = |error: std::io::Error| malformed(HEADER, format!("it cannot be expanded ({error}); copy it again"));
    let decoder = zstd::Decoder::new(&bytes[HEADER..]).map_err(broken)?;
    decoder.take(length + 1).read_to_end(&mut body).map_err(broken)?;
    if body.len() as u64 != length || u64::from(checksum(&body)) != number(20, 4) {
        return Err(malformed(HEADER, "its checksum does not fit: it was damaged; copy it again"));
    }
    postcard::from_bytes(&body).map_err(|error| malformed(HEADER, error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::network::{Activation, AffineMap, Layer, Network};
    use crate::plan::packed::PackedOptions;

    const LIMIT: u64 = 1 << 24;

    fn plan() -> Plan {
        let weights: Vec<f64> = (0..24).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let layers = vec![
            Layer::affine("first", AffineMap::linear(&weights, [6, 4], Some(&[0.1; 6])).unwrap()),
            Layer::activation("square", Activation::Square),
            Layer::affine("second", AffineMap::linear(&weights[..12], [2, 6], None).unwrap()),
        ];
        Plan::new(&Network::new(&[4], layers).unwrap(), &[0.5, -1.0, 0.25, 0.75], PackedOptions::default()).unwrap()
    }

    #[test]
    fn programs_and_interfaces_come_back_the_same() {
        let plan = plan();
        assert_eq!(Plan::from_bytes(&plan.to_bytes(), LIMIT).unwrap(), plan);
        assert_eq!(Interface::from_bytes(&plan.interface.to_bytes(), LIMIT).unwrap(), plan.interface);
        assert_eq!(plan.interface.program, identity(&plan));
        let error = Plan::from_bytes(&plan.interface.to_bytes(), LIMIT).unwrap_err();
        assert!(error.to_string().contains("server's program"), "{error}");
        let error = Plan::from_bytes(&plan.to_bytes(), 100).unwrap_err();
        assert_eq!(error.code(), "too-large");
    }

    proptest! {
        #[test]
        fn damaged_files_are_refused(at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
            let bytes = plan().to_bytes();
            let mut damaged = bytes.clone();
            damaged[at.index(bytes.len())] ^= 1 << bit;
            if let Ok(read) = Plan::from_bytes(&damaged, LIMIT) {
                // Some bits of a compressed stream carry nothing.
                prop_assert_eq!(read, plan());
            }
            prop_assert!(Plan::from_bytes(&bytes[..cut.index(bytes.len())], LIMIT).is_err());
        }

        #[test]
        fn foreign_bodies_are_refused_or_sound(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = plan().to_bytes()[..12].to_vec();
            bytes.extend((body.len() as u64).to_le_bytes());
            bytes.extend(checksum(&body).to_le_bytes());
            bytes.extend(zstd::encode_all(body.as_slice(), 1).unwrap());
            if let Ok(plan) = Plan::from_bytes(&bytes, LIMIT) {
                prop_assert!(plan.levels().iter().all(|&level| level > 0));
            }
        }
    }
}
