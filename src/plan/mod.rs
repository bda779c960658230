//! How a network is run on ciphertexts: the layout of its values, the order of its steps, the parameters.
//!
//! | module | layout |
//! | --- | --- |
//! | [`per_value`] | one value of one image in a ciphertext, BFV with encoded weights (the paper's) |
//! | [`layer`] | the same, one layer at a time, in every encoding of single numbers |
//! | [`batched`] | one value of up to N/2 images in a ciphertext, CKKS with integer weights |
//!
//! [`NormalForm`] is what the CKKS layouts compile; [`envelope`] is what stands around programs as files,
//! [`expectation`] the error that is to be expected, [`reply`] what is done to an answer before it leaves.
//!
//! A program knows the network's weights and the public parameters; it holds no key.

pub mod alternation;
pub mod batched;
mod digit_mask;
pub mod envelope;
pub mod expectation;
pub mod layer;
mod noise;
mod normal_form;
pub mod packed;
pub mod per_value;
mod rehearsal;
pub mod reply;

pub use normal_form::NormalForm;
