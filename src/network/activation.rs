//! Activations that homomorphic encryption can compute: polynomials.

use crate::error::{Error, Result};

/// A polynomial applied to every value.
#[derive(Debug, Clone, PartialEq)]
pub enum Activation {
    /// x^2
    Square,
    /// coefficients from the constant upwards; [`Activation::polynomial`] checks them
    Polynomial(Vec<f64>),
}

impl Activation {
    /// The polynomial with these coefficients, constant first; zeros at the end are dropped.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the degree is below 2 (that is an affine map) or a coefficient is not finite.
    pub fn polynomial(coefficients: &[f64]) -> Result<Self> {
        let degree = coefficients.iter().rposition(|&coefficient| coefficient != 0.0).unwrap_or(0);
        let activation = Activation::Polynomial(coefficients[..coefficients.len().min(degree + 1)].to_vec());
        activation.check()?;
        Ok(activation)
    }

    /// Refuses what [`polynomial`](Self::polynomial) would not have made.
    pub(super) fn check(&self) -> Result<()> {
        let Activation::Polynomial(coefficients) = self else { return Ok(()) };
        let reason = if let Some(power) = coefficients.iter().position(|coefficient| !coefficient.is_finite()) {
            format!("the coefficient of x^{power} is {}, not a finite number", coefficients[power])
        } else if coefficients.len() < 3 || coefficients.last() == Some(&0.0) {
            format!("{coefficients:?} has a degree below 2; use an affine map such as AffineMap::scale")
        } else {
            return Ok(());
        };
        Err(Error::InvalidArgument { name: "coefficients", reason })
    }

    /// The degree of the polynomial.
    pub fn degree(&self) -> usize {
        match self {
            Activation::Square => 2,
            Activation::Polynomial(coefficients) => coefficients.len().saturating_sub(1),
        }
    }

    /// The value of the polynomial.
    pub fn evaluate(&self, x: f64) -> f64 {
        match self {
            Activation::Square => x * x,
            Activation::Polynomial(coefficients) => coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_evaluated_constant_first() {
        let relu = Activation::polynomial(&[0.5, 0.25, 2.0, 0.0]).unwrap();
        assert_eq!(relu.degree(), 2);
        assert_eq!(relu.evaluate(-3.0), 0.5 - 0.75 + 18.0);
        assert_eq!(Activation::Square.evaluate(-3.0), 9.0);
    }

    #[test]
    fn polynomials_that_are_none_are_refused() {
        for coefficients in [&[][..], &[1.0], &[0.0, 1.0], &[0.0, 1.0, 0.0], &[0.0, f64::NAN, 1.0]] {
            assert!(matches!(
                Activation::polynomial(coefficients),
                Err(Error::InvalidArgument { name: "coefficients", .. })
            ));
        }
    }
}
