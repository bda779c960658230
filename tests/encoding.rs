//! Batch and CKKS encodings against Microsoft SEAL's.

use std::sync::Arc;

use pycrcnn::encoding::{BatchEncoder, CkksEncoder};
use pycrcnn::ring::primes;
use pycrcnn::scheme::{Context, Parameters, Plaintext};
use pycrcnn::seal::SealSession;

fn ckks(degree: usize, bit_sizes: &[u32]) -> Arc<Context> {
    let moduli = primes::create(degree, bit_sizes).unwrap();
    Context::new(Parameters::ckks(degree, moduli, true).unwrap()).unwrap()
}

#[test]
fn batch_plaintexts_are_seals() {
    for degree in [4096, 8192] {
        let moduli = primes::bfv_default(degree, 128).unwrap().to_vec();
        let t = primes::largest(2 * degree as u64, 20, 1).unwrap()[0];
        let context = Context::new(Parameters::bfv(degree, moduli, true, t).unwrap()).unwrap();
        let session = SealSession::new(&context).unwrap();
        let encoder = BatchEncoder::new(&context).unwrap();
        let values: Vec<i64> = (0..degree as i64).map(|i| i * i % t as i64 - t as i64 / 2).collect();
        for values in [&values[..], &values[..100], &[]] {
            let ours = encoder.encode(values).unwrap();
            let seals = session.batch_encode(values).unwrap();
            let trimmed = |plaintext: &Plaintext| {
                let Plaintext::Bfv(coefficients) = plaintext else { unreachable!() };
                let len = coefficients.iter().rposition(|&c| c != 0).map_or(0, |last| last + 1);
                coefficients[..len].to_vec()
            };
            assert_eq!(trimmed(&ours), trimmed(&seals));
            assert_eq!(encoder.decode(&seals).unwrap(), session.batch_decode(&ours).unwrap());
        }
    }
}

#[test]
fn ckks_plaintexts_are_seals() {
    for (degree, bit_sizes) in
        [(4096, &[40, 30, 39][..]), (8192, &[50, 40, 40, 50]), (16384, &[60, 50, 50, 60, 60, 60])]
    {
        let context = ckks(degree, bit_sizes);
        let session = SealSession::new(&context).unwrap();
        let encoder = CkksEncoder::new(context.clone()).unwrap();
        let values: Vec<f64> = (0..degree / 2).map(|i| (i as f64 * 0.7).sin() * 5.0).collect();
        for primes in 1..=context.data_primes() {
            for scale in [2f64.powi(20), 3.7e9, 2f64.powi(40), 2f64.powi(60), 2f64.powi(75), 2f64.powi(140)] {
                for values in [&values[..], &values[..3]] {
                    match (encoder.encode(values, scale, primes), session.ckks_encode(values, primes, scale)) {
                        (Ok(ours), Ok(seals)) => {
                            assert_eq!(ours, seals, "N {degree}, {primes} primes, scale {scale:e}");
                            let (ours, seals) = (encoder.decode(&ours).unwrap(), session.ckks_decode(&seals).unwrap());
                            assert!(ours.iter().zip(&seals).all(|(a, b)| (a - b).abs() < 1e-12));
                        }
                        (Err(_), Err(_)) => {}
                        (ours, seals) => panic!("{:?} {:?} at {scale:e}", ours.err(), seals.err()),
                    }
                }
            }
        }
    }
}
