//! How a network is run on ciphertexts: the layout of its values, the order of its steps, the parameters.
//!
//! | module | layout |
//! | --- | --- |
//! | [`per_value`] | one value of one image in a ciphertext, BFV with encoded weights (the paper's) |
//! | [`layer`] | the same, one layer at a time, in every encoding of single numbers |
//! | [`batched`] | one value of up to N/2 images in a ciphertext, CKKS with integer weights |
//!
//! A program knows the network's weights and the public parameters; it holds no key.

pub mod alternation;
pub mod batched;
pub mod layer;
pub mod packed;
pub mod per_value;
