//! The largest error of an answer that is to be expected: one definition for every layout.

use crate::error::{Error, Result};

/// Numbers of simulated answers, at least, by which errors are predicted: 128 answers of ten numbers, more of fewer.
pub const NUMBERS: usize = 1280;

/// The largest error that is to be expected is this many times the largest of [`NUMBERS`] simulated ones.
///
/// The largest of so many varies by a third or so from one set of keys and images to the next, by more the more squares a network
/// has; and the largest of a million is about twice the largest of a thousand, because tails are exponential where noise is
/// multiplied by the secret key.
pub const MARGIN: f64 = 2.0;

/// [`MARGIN`] times the largest difference between `exact` and `simulated` answers of `outputs` numbers to the last `examples` of
/// the images (`[n][inputs]`, flattened), which are simulated again and again, until there are [`NUMBERS`].
///
/// # Errors
/// [`Error::ShapeMismatch`] where there is no image; those of `exact` and `simulated`.
pub fn expected_error(
    images: &[f64],
    [inputs, outputs, examples]: [usize; 3],
    exact: impl Fn(&[f64]) -> Result<Vec<f64>>,
    simulated: impl Fn(&[f64]) -> Result<Vec<f64>>,
) -> Result<f64> {
    let images = &images[images.len().saturating_sub(inputs * examples)..];
    let count = images.len() / inputs.max(1);
    if count == 0 {
        let expected = format!("images of {inputs} values");
        return Err(Error::ShapeMismatch { operation: "predicting the error", expected, got: vec![images.len()] });
    }
    let exact = exact(images)?;
    let simulated = simulated(&images.repeat(NUMBERS.div_ceil(count * outputs.max(1))))?;
    let differences = simulated.iter().zip(exact.iter().cycle()).map(|(noisy, exact)| (noisy - exact).abs());
    Ok(MARGIN * differences.fold(0.0, f64::max))
}
