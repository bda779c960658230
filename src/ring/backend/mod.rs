//! Vector instruction sets, chosen once at run time.
//!
//! [`portable`] is the readable oracle; the other backends must agree with it bit for bit.

pub mod portable;
