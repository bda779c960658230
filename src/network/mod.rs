//! Networks: affine maps and polynomial activations, in clear.
//!
//! Convolution, average pooling, batch normalisation, padding, flattening and fully connected layers are all one
//! sparse matrix and a bias over the values of a tensor, so there is one [`AffineMap`] with a constructor for each
//! kind of layer, and neighbours fuse by multiplying matrices.

pub mod affine;

pub use affine::{AffineMap, Conv1d, Conv2d, Pool1d, Pool2d};
