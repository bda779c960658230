//! The sum of two maps.

use super::rows::Rows;
use super::{AffineMap, all_finite};
use crate::error::{Error, Result};

impl AffineMap {
    /// The map that gives the sum of what two maps give for the same tensor: two branches of a network that meet.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where `other` takes or gives another shape; [`Error::InvalidArgument`] where a sum of
    /// weights overflows; [`Error::TooLarge`].
    pub fn add(&self, other: &AffineMap) -> Result<AffineMap> {
        const OPERATION: &str = "add affine maps";
        for (taken, mine, got) in
            [("takes", &self.input_shape, &other.input_shape), ("gives", &self.output_shape, &other.output_shape)]
        {
            if mine != got {
                let expected = format!("a map that {taken} {mine:?}");
                return Err(Error::ShapeMismatch { operation: OPERATION, expected, got: got.clone() });
            }
        }
        let entries = self.nonzeros() + other.nonzeros();
        let mut rows = Rows::new(OPERATION, &self.input_shape, &self.output_shape, entries)?;
        for (row, (left, right)) in self.rows().zip(other.rows()).enumerate() {
            merge(left, right, |column, weight| rows.push(column as usize, weight));
            rows.end_row(self.bias[row] + other.bias[row]);
        }
        let sum = rows.finish();
        all_finite("summed weights", &sum.weights)?;
        all_finite("summed bias", &sum.bias)?;
        Ok(sum)
    }
}

/// Two rows as one, columns ascending.
fn merge(left: (&[u32], &[f64]), right: (&[u32], &[f64]), mut push: impl FnMut(u32, f64)) {
    let (mut i, mut j) = (0, 0);
    while i < left.0.len() || j < right.0.len() {
        // Columns have 32 bits, so the end of a row compares as larger than any.
        let column = |row: &[u32], place: usize| row.get(place).map_or(u64::MAX, |&column| column.into());
        let (a, b) = (column(left.0, i), column(right.0, j));
        let weight = if a <= b { left.1[i] } else { 0.0 } + if b <= a { right.1[j] } else { 0.0 };
        push(a.min(b) as u32, weight);
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_gives_what_both_give_together() {
        let left = AffineMap::linear(&[1.0, 0.0, 2.0, 0.5, -1.0, 0.0], [2, 3], Some(&[1.0, 2.0])).unwrap();
        let right = AffineMap::linear(&[0.0, 3.0, -2.0, 0.0, 1.0, 4.0], [2, 3], Some(&[-1.0, 0.5])).unwrap();
        let sum = left.add(&right).unwrap();
        let expected = AffineMap::linear(&[1.0, 3.0, 0.0, 0.5, 0.0, 4.0], [2, 3], Some(&[0.0, 2.5])).unwrap();
        assert_eq!(sum, expected);
        assert_eq!((sum.nonzeros(), sum.offsets()), (4, &[0, 2, 4][..]), "entries that cancel are dropped");
    }

    #[test]
    fn maps_that_do_not_meet_are_refused() {
        let identity = AffineMap::identity(&[2, 2]).unwrap();
        for other in [AffineMap::flatten(&[2, 2]).unwrap(), AffineMap::identity(&[4]).unwrap()] {
            assert!(matches!(identity.add(&other), Err(Error::ShapeMismatch { operation: "add affine maps", .. })));
        }
        let huge = AffineMap::scale(&[2, 2], f64::MAX).unwrap();
        assert!(matches!(huge.add(&huge), Err(Error::InvalidArgument { .. })));
    }
}
