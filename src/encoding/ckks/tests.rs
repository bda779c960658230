use proptest::prelude::*;

use super::*;
use crate::ring::primes;
use crate::scheme::Parameters;

fn encoder(bit_sizes: &[u32]) -> CkksEncoder {
    let moduli = primes::create(4096, bit_sizes).unwrap();
    CkksEncoder::new(Context::new(Parameters::ckks(4096, moduli, false).unwrap()).unwrap()).unwrap()
}

fn wave(slots: usize, size: f64) -> Vec<f64> {
    (0..slots).map(|i| size * (i as f64 * 0.37).sin()).collect()
}

#[test]
fn vectors_round_trip_at_every_level_and_scale() {
    let encoder = encoder(&[60, 40, 60, 50, 60]);
    for primes in 1..=5 {
        for scale in [20, 30, 40, 60, 90, 140].map(|bits| 2f64.powi(bits)) {
            let values = wave(2048, 3.0);
            let Ok(plaintext) = encoder.encode(&values, scale, primes) else {
                assert!(scale.log2() + 4.0 >= f64::from(encoder.levels[primes - 1].bits));
                continue;
            };
            let decoded = encoder.decode(&plaintext).unwrap();
            let error = decoded.iter().zip(&values).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
            assert!(error < (400.0 / scale).max(1e-13), "{primes} {scale:e} {error:e}");
        }
    }
}

#[test]
fn complex_numbers_and_short_vectors_round_trip() {
    let encoder = encoder(&[50, 40]);
    let values = [Complex64::new(1.5, -2.0), Complex64::new(0.0, 7.25)];
    let decoded = encoder.decode_complex(&encoder.encode_complex(&values, 2f64.powi(40), 2).unwrap()).unwrap();
    assert!(decoded.iter().zip(&values).all(|(a, b)| (a - b).norm() < 1e-8));
    assert!(decoded[2..].iter().all(|z| z.norm() < 1e-8));
    assert_eq!(decoded.len(), 2048);
}

#[test]
fn a_constant_is_the_vector_of_its_copies() {
    let encoder = encoder(&[50, 40]);
    for value in [0.0, 1.0, -3.140625, 1e-3] {
        let constant = encoder.encode_constant(value, 2f64.powi(30), 2).unwrap();
        assert_eq!(constant, encoder.encode(&[value; 2048], 2f64.powi(30), 2).unwrap());
    }
    let huge = encoder.encode_constant(-5.0, 2f64.powi(80), 2).unwrap();
    assert!(encoder.decode(&huge).unwrap().iter().all(|v| (v + 5.0).abs() < 1e-12));
}

#[test]
fn what_cannot_be_encoded_is_named() {
    let encoder = encoder(&[50, 40]);
    for (value, scale, primes) in
        [(f64::NAN, 30, 1), (f64::INFINITY, 30, 1), (1e9, 30, 1), (1e300, 88, 2), (1e308, 40, 2)]
    {
        let error = encoder.encode(&[0.0, 1.0, value], 2f64.powi(scale), primes).unwrap_err();
        assert!(matches!(error, Error::Unencodable { index: 2, .. }), "{error}");
        assert!(encoder.encode_constant(value, 2f64.powi(scale), primes).is_err());
    }
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 2f64.powi(49)] {
        assert!(matches!(encoder.encode(&[0.0], scale, 1), Err(Error::ScaleOutOfRange { .. })), "{scale}");
        assert!(matches!(encoder.encode_constant(0.0, scale, 1), Err(Error::ScaleOutOfRange { .. })), "{scale}");
    }
    for primes in [0, 3] {
        assert!(matches!(encoder.encode(&[0.0], 2.0, primes), Err(Error::InvalidArgument { name: "primes", .. })));
    }
    assert!(matches!(encoder.encode(&[0.0; 2049], 2.0, 1), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(encoder.decode(&Plaintext::Bfv(vec![1])), Err(Error::ParametersMismatch { .. })));
}

#[test]
fn an_overflow_of_the_modulus_is_seen_when_decoding() {
    for bit_sizes in [&[50][..], &[50, 40], &[50, 40, 40]] {
        let encoder = encoder(bit_sizes);
        let primes = bit_sizes.len();
        // Multiplying the polynomial by 2^30 wraps every coefficient around the modulus.
        let scale = 2f64.powi(bit_sizes.iter().sum::<u32>() as i32 - 10);
        let Plaintext::Ckks { mut data, .. } = encoder.encode(&wave(2048, 8.0), scale, primes).unwrap() else {
            unreachable!()
        };
        for (row, table) in data.chunks_exact_mut(4096).zip(encoder.context.tables()) {
            table.kernels().mul_scalar_assign(row, 1 << 30);
        }
        let wrapped = Plaintext::Ckks { primes, scale, data };
        assert!(matches!(encoder.decode(&wrapped), Err(Error::ScaleOutOfRange { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn rounding_is_exact(value in -1e60..1e60f64, shift in 0i32..200) {
        let q = Modulus::new(0xffffee001).unwrap();
        let value = value / 2f64.powi(shift);
        for largest in [value.abs(), 1e60] {
            let residue = Rounding::new(q, largest).residue(value);
            let exact = num_bigint::BigInt::from(value.round() as i128);
            if value.abs() < 1e38 {
                let modulus = num_bigint::BigInt::from(q.value());
                prop_assert_eq!(num_bigint::BigInt::from(residue), ((exact % &modulus) + &modulus) % &modulus);
            }
        }
    }
}
