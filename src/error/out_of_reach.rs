//! Networks that no secure ring has room for: what has no room, at which layer, and what would fit.

use std::fmt;

use thiserror::Error;

/// What a network needs that no secure ring has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OutOfReach {
    /// The levels take a longer modulus than the largest ring allows (CKKS).
    #[error(
        "{needs} need a modulus of {needed} bits, {each} for each map and square, and {} allows {limit} at {security}-bit security{}: {needs:#}; use fewer activations or of lower degree, or cut the network where the client refreshes the values (pycrcnn.compile_interactive)",
        Largest(.needs.degree),
        NextRing(.needs.degree)
    )]
    Deep {
        /// what is asked for, and what would fit
        needs: Needs,
        /// bits that the modulus needs
        needed: u32,
        /// bits of one map or square
        each: u32,
        /// bits that the largest ring allows
        limit: u32,
        /// bits of security
        security: u32,
    },
    /// The precision takes wider primes than there are kernels for (CKKS).
    #[error(
        "{needs} need scales of {scale} bits in N = {}, the smallest ring whose modulus and slots have room up to layer {}, and with them a key-switching prime of {prime} bits, where {widest} bits are the most that the kernels take (a larger ring needs wider ones): {needs:#}; ask for less precision, or take layout=\"batched\", where a scale may span several primes",
        .needs.degree,
        .needs.layer
    )]
    Fine {
        /// what is asked for, and what would fit
        needs: Needs,
        /// bits of a scale
        scale: u32,
        /// bits of the widest prime
        prime: u32,
        /// bits that a prime may have
        widest: u32,
    },
    /// Exact integers outgrow what plaintext moduli or the modulus of the largest ring can hold (BFV).
    #[error(
        "{needs} give integers {}: {needs:#}; use fewer activations, or take scheme=\"ckks\", which rescales",
        match (integers, needed) {
            (Some(bits), _) if bits > longest => format!("of {bits} bits, and plaintext moduli have room for {longest}"),
            (Some(bits), Some(needed)) => {
                let (ring, next) = (Largest(needs.degree), NextRing(needs.degree));
                format!("of {bits} bits, which need a modulus of {needed} bits, and {ring} allows {limit} at {security}-bit security{next}")
            }
            (Some(bits), None) => format!("of {bits} bits, which need more primes than any ring has"),
            (None, _) => "that outgrow 126 bits on the way".into(),
        }
    )]
    Long {
        /// what is asked for, and what would fit
        needs: Needs,
        /// bits of the longest integers, where they were found
        integers: Option<u32>,
        /// bits of the longest integers that plaintext moduli have room for
        longest: u32,
        /// bits that the modulus needs, where any was found
        needed: Option<u32>,
        /// bits that the largest ring allows
        limit: u32,
        /// bits of security
        security: u32,
    },
    /// A tensor has more values than the largest ring has slots.
    #[error(
        "layer {layer} takes {inputs} values to {outputs}, and one ciphertext of {} has {slots} slots an image for {images} image(s){}: have {times} times fewer values there by a larger stride, by pooling before it or by fewer channels, or use the batched layout",
        Largest(*.degree),
        NextRing(*.degree)
    )]
    Wide {
        /// the layers of the affine map, by name
        layer: String,
        /// values that it takes
        inputs: usize,
        /// values that it gives
        outputs: usize,
        /// the degree of the largest ring
        degree: usize,
        /// slots of one image
        slots: usize,
        /// images in a ciphertext
        images: usize,
        /// by how much the larger of both exceeds the slots, rounded up; at least 2
        times: usize,
    },
}

/// What is asked for, and what of it would fit. `{}` says the former, `{:#}` the latter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// affine maps, with a square between one and the next
    pub maps: usize,
    /// bits of precision asked for
    pub precision: u32,
    /// the degree of the ring in which there is no room
    pub degree: usize,
    /// the layers of the first map that has no room
    pub layer: String,
    /// how many maps, from the first, fit at this precision
    pub fitting_maps: usize,
    /// the most bits of precision at which all of them fit, if there are any
    pub fitting_precision: Option<u32>,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { maps, precision, layer, fitting_maps, fitting_precision, .. } = self;
        if !f.alternate() {
            return match maps {
                1 => write!(f, "{precision} bits of precision of an affine map"),
                _ => write!(f, "{precision} bits of precision of {maps} affine maps with squares between them"),
            };
        }
        match fitting_maps {
            0 => write!(f, "at this precision there is no room for even the first map, layer {layer}")?,
            1 => write!(f, "at this precision there is room for one map, up to layer {layer}, which needs more")?,
            _ => write!(
                f,
                "at this precision there is room for {fitting_maps} maps, up to layer {layer}, which needs more"
            )?,
        }
        match fitting_precision {
            Some(bits) => write!(f, "; at {bits} bits there is room for all"),
            None => write!(f, "; no lower one makes room for all"),
        }
    }
}

/// Names a ring as the largest.
struct Largest(usize);

impl fmt::Display for Largest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "N = {}, the largest ring,", self.0)
    }
}

/// What the ring after the largest would cost.
struct NextRing(usize);

impl fmt::Display for NextRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = 2 * self.0;
        write!(
            f,
            " (N = {next}, which Microsoft SEAL does not have, would take more than twice the time a step and twice the bytes a key)"
        )
    }
}

impl OutOfReach {
    /// A stable identifier of what has no room.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Deep { .. } => "too-deep",
            Self::Fine { .. } => "too-fine",
            Self::Long { .. } => "too-long",
            Self::Wide { .. } => "too-wide",
        }
    }

    /// The layers of the first map that has no room.
    pub fn layer(&self) -> &str {
        match self {
            Self::Deep { needs, .. } | Self::Fine { needs, .. } | Self::Long { needs, .. } => &needs.layer,
            Self::Wide { layer, .. } => layer,
        }
    }

    /// What was needed, what there is and what would fit, by name.
    pub fn figures(&self) -> Vec<(&'static str, Option<usize>)> {
        let bits = |bits: u32| Some(bits as usize);
        let (needs, own) = match *self {
            Self::Deep { ref needs, needed, each, limit, security } => (
                Some(needs),
                vec![
                    ("needed_bits", bits(needed)),
                    ("bits_each", bits(each)),
                    ("limit_bits", bits(limit)),
                    ("security", bits(security)),
                ],
            ),
            Self::Fine { ref needs, scale, prime, widest } => (
                Some(needs),
                vec![("scale_bits", bits(scale)), ("prime_bits", bits(prime)), ("widest_prime_bits", bits(widest))],
            ),
            Self::Long { ref needs, integers, longest, needed, limit, security } => (
                Some(needs),
                vec![
                    ("integer_bits", integers.and_then(bits)),
                    ("longest_integer_bits", bits(longest)),
                    ("needed_bits", needed.and_then(bits)),
                    ("limit_bits", bits(limit)),
                    ("security", bits(security)),
                ],
            ),
            Self::Wide { inputs, outputs, degree, slots, images, times, .. } => (
                None,
                vec![
                    ("inputs", Some(inputs)),
                    ("outputs", Some(outputs)),
                    ("degree", Some(degree)),
                    ("slots", Some(slots)),
                    ("images", Some(images)),
                    ("times", Some(times)),
                ],
            ),
        };
        let asked = needs.map(|needs| {
            [
                ("maps", Some(needs.maps)),
                ("precision", bits(needs.precision)),
                ("degree", Some(needs.degree)),
                ("fitting_maps", Some(needs.fitting_maps)),
                ("fitting_precision", needs.fitting_precision.and_then(bits)),
            ]
        });
        asked.into_iter().flatten().chain(own).collect()
    }
}
