//! Residues packed at the width of their prime: N residues of b bits in N b / 8 bytes, the first in
//! the lowest bits of the first little-endian word. N is a multiple of 64, so no word is shared by rows.

use crate::ring::Modulus;

/// The bytes of `count` residues (a multiple of 64) modulo q.
pub(super) fn packed_len(q: Modulus, count: usize) -> usize {
    count / 64 * 8 * q.bits() as usize
}

/// Packs reduced residues into exactly [`packed_len`] bytes.
pub(super) fn pack(q: Modulus, residues: &[u64], out: &mut [u8]) {
    let width = q.bits();
    let (mut word, mut used) = (0u64, 0);
    let mut words = out.as_chunks_mut().0.iter_mut();
    for &residue in residues {
        word |= residue << used;
        used += width;
        if used >= 64 {
            used -= 64;
            if let Some(out) = words.next() {
                *out = word.to_le_bytes();
            }
            // What did not fit; nothing where the residue ended with the word.
            word = if used == 0 { 0 } else { residue >> (width - used) };
        }
    }
}

/// Unpacks as many residues as `out` takes; says whether all are below q.
#[must_use]
pub(super) fn unpack(q: Modulus, bytes: &[u8], out: &mut [u64]) -> bool {
    let width = q.bits();
    let mask = (1u128 << width) - 1;
    let (mut pending, mut available) = (0u128, 0);
    let mut words = bytes.as_chunks().0.iter();
    let mut largest = 0;
    for residue in out {
        if available < width {
            let Some(&word) = words.next() else { return false };
            pending |= u128::from(u64::from_le_bytes(word)) << available;
            available += 64;
        }
        *residue = (pending & mask) as u64;
        largest = largest.max(*residue);
        pending >>= width;
        available -= width;
    }
    largest < q.value()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_width_round_trips(bits in 2u32..=61, words in prop::collection::vec(any::<u64>(), 128)) {
            let q = Modulus::new((1 << bits) - 1).unwrap();
            let residues: Vec<u64> = words.iter().map(|w| w % q.value()).collect();
            let mut bytes = vec![0; packed_len(q, 128)];
            prop_assert_eq!(bytes.len(), 16 * bits as usize);
            pack(q, &residues, &mut bytes);
            let mut unpacked = vec![0; 128];
            prop_assert!(unpack(q, &bytes, &mut unpacked));
            prop_assert_eq!(&unpacked, &residues);
            // The modulus itself is no residue.
            pack(q, &[&[q.value()], &residues[1..]].concat(), &mut bytes);
            prop_assert!(!unpack(q, &bytes, &mut unpacked));
            prop_assert!(!unpack(q, &bytes[..bytes.len() - 8], &mut unpacked));
        }
    }
}
