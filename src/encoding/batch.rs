//! BFV batching: N integers modulo t in the slots of one plaintext, in SEAL's order.

use crate::error::{Error, Result};
use crate::ring::{Modulus, NttTable};
use crate::scheme::{Context, Plaintext};

/// Encodes vectors of N integers modulo a prime t = 1 (mod 2N). Bit-identical to SEAL's `BatchEncoder`.
///
/// Slots form two rows of N/2; rotations turn each row, a column rotation swaps them. Slot i of row 0 is
/// the polynomial at root^(3^i), slot i of row 1 at root^(-3^i).
#[derive(Debug, Clone)]
pub struct BatchEncoder {
    table: NttTable,
    /// where each slot stands among the values of the transform
    positions: Vec<usize>,
}

impl BatchEncoder {
    /// The slots of a context.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for CKKS, [`Error::InvalidModulus`] where t is no prime congruent to 1 modulo 2N.
    pub fn new(context: &Context) -> Result<Self> {
        let t = context.parameters().plain_modulus();
        if t == 0 {
            return Err(Error::Unsupported {
                operation: "batch encoding",
                reason: "use the CKKS encoder for CKKS".into(),
            });
        }
        let table = NttTable::new(context.degree(), Modulus::new(t)?)?;
        Ok(Self { table, positions: super::slot_positions(context.degree()) })
    }

    /// The number of slots, N.
    pub fn slots(&self) -> usize {
        self.table.degree()
    }

    /// The plaintext modulus t.
    pub fn plain_modulus(&self) -> u64 {
        self.table.modulus().value()
    }

    /// Encodes at most N integers in [-t/2, t/2]; missing ones are zero.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for too many values, [`Error::Unencodable`] for one outside the range.
    pub fn encode(&self, values: &[i64]) -> Result<Plaintext> {
        let t = self.table.modulus();
        self.encode_with(values, |&value, index| {
            super::check_centered(value, index, t)?;
            Ok(t.reduce_signed(value))
        })
    }

    /// Encodes at most N integers in [0, t); missing ones are zero.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_unsigned(&self, values: &[u64]) -> Result<Plaintext> {
        let t = self.plain_modulus();
        self.encode_with(values, |&value, index| {
            if value < t { Ok(value) } else { Err(super::outside(value as f64, index, format!("[0, {t})"))) }
        })
    }

    /// Decodes all N slots to integers in (-t/2, t/2].
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for a plaintext of other parameters.
    pub fn decode(&self, plaintext: &Plaintext) -> Result<Vec<i64>> {
        let t = self.table.modulus();
        Ok(self.decode_unsigned(plaintext)?.into_iter().map(|value| t.center(value)).collect())
    }

    /// Decodes all N slots to integers in [0, t).
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for a plaintext of other parameters.
    pub fn decode_unsigned(&self, plaintext: &Plaintext) -> Result<Vec<u64>> {
        let mut values = super::bfv_coefficients(plaintext, self.slots(), self.plain_modulus())?.to_vec();
        values.resize(self.slots(), 0);
        self.table.forward(&mut values);
        Ok(self.positions.iter().map(|&at| values[at]).collect())
    }

    fn encode_with<T>(&self, values: &[T], residue: impl Fn(&T, usize) -> Result<u64>) -> Result<Plaintext> {
        super::check_slots(values.len(), self.slots())?;
        let mut coefficients = vec![0; self.slots()];
        for (index, (value, &at)) in values.iter().zip(&self.positions).enumerate() {
            coefficients[at] = residue(value, index)?;
        }
        self.table.inverse(&mut coefficients);
        Ok(Plaintext::Bfv(coefficients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::primes;
    use crate::scheme::Parameters;

    fn encoder(t: u64) -> Result<BatchEncoder> {
        let moduli = primes::bfv_default(4096, 128).unwrap().to_vec();
        BatchEncoder::new(&Context::new(Parameters::bfv(4096, moduli, false, t).unwrap()).unwrap())
    }

    #[test]
    fn slots_multiply_as_numbers() {
        let encoder = encoder(40961).unwrap();
        let values: Vec<i64> = (0..4096).map(|i| (i * 31) % 40961 - 20480).collect();
        let encoded = encoder.encode(&values).unwrap();
        assert_eq!(encoder.decode(&encoded).unwrap(), values);
        // The constant polynomial 7 is 7 in every slot.
        assert_eq!(encoder.decode(&Plaintext::Bfv(vec![7])).unwrap(), [7; 4096]);
        assert_eq!(encoder.encode(&[7; 4096]).unwrap(), Plaintext::Bfv([vec![7], vec![0; 4095]].concat()));
        // X -> X^3 moves every row by one slot.
        let Plaintext::Bfv(coefficients) = encoded else { unreachable!() };
        let mut rotated = vec![0; 4096];
        for (i, &c) in coefficients.iter().enumerate() {
            let exponent = 3 * i % 8192;
            rotated[exponent % 4096] = if exponent < 4096 || c == 0 { c } else { 40961 - c };
        }
        let rotated = encoder.decode(&Plaintext::Bfv(rotated)).unwrap();
        assert_eq!(rotated[..2047], values[1..2048]);
        assert_eq!((rotated[2047], rotated[4095]), (values[0], values[2048]));
    }

    #[test]
    fn bad_moduli_and_values_are_refused() {
        assert!(matches!(encoder(40960), Err(Error::InvalidModulus { value: 40960, .. })));
        assert!(matches!(encoder(40973), Err(Error::InvalidModulus { value: 40973, .. })));
        let encoder = encoder(40961).unwrap();
        assert!(matches!(encoder.encode(&[0, 20481]), Err(Error::Unencodable { index: 1, .. })));
        assert!(matches!(encoder.encode(&[i64::MIN]), Err(Error::Unencodable { index: 0, .. })));
        assert!(matches!(encoder.encode_unsigned(&[40961]), Err(Error::Unencodable { index: 0, .. })));
        assert!(matches!(encoder.encode(&[0; 4097]), Err(Error::ShapeMismatch { .. })));
        assert_eq!(encoder.decode(&encoder.encode(&[-20480, 20480]).unwrap()).unwrap()[..3], [-20480, 20480, 0]);
    }
}
