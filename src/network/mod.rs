//! Networks: affine maps and polynomial activations, in clear.
//!
//! Convolution, average pooling, batch normalisation, padding, flattening and fully connected layers are all one
//! sparse matrix and a bias over the values of a tensor, so there is one [`AffineMap`] with a constructor for each
//! kind of layer, and neighbours fuse by multiplying matrices. What is left are polynomial [`Activation`]s: a
//! [`Network`] is a chain of the two, and of residual blocks, whose branches are such chains.
//!
//! | module | what it does with a network |
//! | --- | --- |
//! | [`affine`] | builds and fuses the affine maps |
//! | [`model`] | checks shapes, evaluates in double precision |
//! | [`ranges`] | measures how large values become |
//! | [`fusion`] | finds the cheapest way to fuse the affine maps of a network |
//! | [`quantize`] | rounds weights to integers, for encodings that hold no fractions |
//! | [`simulate`] | evaluates exactly in the plaintext ring of BFV: what encryption would give |

pub mod activation;
pub mod affine;
pub mod fusion;
pub mod model;
pub mod quantize;
pub mod ranges;
pub mod simulate;
mod written;

pub use activation::Activation;
pub use affine::{AffineMap, Conv1d, Conv2d, Pool1d, Pool2d, Span};
pub use fusion::Fusion;
pub use model::{Layer, MAX_NESTING, Network, Operation};
pub use quantize::{IntegerAffine, IntegerNetwork, IntegerOperation, scale_for_bits};
pub use ranges::Ranges;
pub use simulate::{PlainRing, Simulator};
