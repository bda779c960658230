//! Re-randomisation: a ciphertext becomes another one of the same message that tells nothing of how it was computed.
//!
//! The polynomials of an evaluated ciphertext are known functions of those that the client sent and of the weights, and so is
//! its noise. Two things hide them:
//!
//! - an encryption of zero under the client's public key makes the polynomials pseudo-random (ring learning with errors): a
//!   ciphertext of k polynomials takes k - 1 of them, number i multiplied by the i-th power of the secret, which is a shift
//!   by i places;
//! - flooding, a random polynomial that is far larger than the noise, is added to the first of them, and so to the noise.
//!   Where each of N coefficients of noise is at most e and the flooding uniform in [-B, B), what the client sees of the sum
//!   is within the statistical distance N e / (2 B) of what it would see of any other noise as small (Gentry, 2009).
//!
//! The second polynomial of the public key is expanded from a seed, so that a client cannot choose one that hides nothing.

use super::public::PublicEncryptor;
use super::sampling::Sampler;
use super::seeded::change_form;
use crate::error::{Error, Result};
use crate::ring::Residues;
use crate::scheme::{Ciphertext, Context, Form};

/// A polynomial whose coefficients are uniform in `[-2^bits, 2^bits)`, modulo the first `primes` primes.
pub fn flooding(context: &Context, primes: usize, form: Form, bits: u32, sampler: &mut Sampler) -> Residues {
    let degree = context.degree();
    let mut polynomial = Residues::zeros(primes * degree);
    for i in 0..degree {
        let words: Vec<u64> = sampler.bits(bits + 1).collect();
        for j in 0..primes {
            let q = context.modulus(j);
            let value = words.iter().fold(0, |x, &word| q.reduce_wide(u128::from(x) << 64 | u128::from(word)));
            polynomial[j * degree + i] = q.sub(value, q.pow(q.reduce(2), bits.into()));
        }
    }
    change_form(context, Form::Coefficient, form, &mut polynomial);
    polynomial
}

impl PublicEncryptor {
    /// The ciphertext plus encryptions of zero and a flooding polynomial in its form, `[primes][N]` residues.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for a ciphertext of other parameters, [`Error::OperandMismatch`] for one in another form
    /// than fresh ones have, [`Error::ShapeMismatch`] for flooding of another level.
    pub fn rerandomize(&self, ciphertext: &Ciphertext, flooding: &[u64], sampler: &mut Sampler) -> Result<Ciphertext> {
        const OPERATION: &str = "re-randomising";
        let context = self.context();
        let primes = ciphertext.primes();
        let known = context.primes_of(&ciphertext.parms_id()) == Some(primes) && primes <= context.data_primes();
        if !known || ciphertext.degree() != context.degree() {
            return Err(Error::ParametersMismatch { operation: OPERATION, object: "ciphertext" });
        }
        if flooding.len() != primes * context.degree() {
            let expected = format!("{} residues of flooding", primes * context.degree());
            return Err(Error::ShapeMismatch { operation: OPERATION, expected, got: vec![flooding.len()] });
        }
        let mut hidden = ciphertext.clone();
        for i in 0..ciphertext.size() - 1 {
            let zero = self.zero(primes, sampler)?;
            if zero.form() != ciphertext.form() {
                return Err(Error::OperandMismatch {
                    operation: OPERATION,
                    what: "forms",
                    left: format!("{:?}", zero.form()),
                    right: format!("{:?}", ciphertext.form()),
                    remedy: "transform the ciphertext first",
                });
            }
            for part in 0..2 {
                add(context, hidden.poly_mut(i + part), zero.poly(part));
            }
        }
        add(context, hidden.poly_mut(0), flooding);
        Ok(hidden)
    }
}

fn add(context: &Context, target: &mut [u64], addend: &[u64]) {
    let degree = context.degree();
    for (j, (row, addend)) in target.chunks_exact_mut(degree).zip(addend.chunks_exact(degree)).enumerate() {
        context.tables()[j].kernels().add_assign(row, addend);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::encryption::keygen::{KeyGenerator, secret_key};
    use crate::encryption::{Decryptor, SymmetricEncryptor};
    use crate::ring::primes;
    use crate::runtime::Cancellation;
    use crate::scheme::{Parameters, Plaintext};

    const BITS: u32 = 60;

    /// Ciphertexts whose noise is multiplied by `factor`, as a weight does, and their noise, with and without hiding.
    fn noises(factor: u64, hide: bool) -> Vec<f64> {
        let context =
            Context::new(Parameters::bfv(1024, primes::create(1024, &[45, 46]).unwrap(), false, 17).unwrap()).unwrap();
        let secret = secret_key(&context).unwrap();
        let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
        let set = generator.key_set(None, &BTreeMap::new(), &Cancellation::new()).unwrap();
        let public = PublicEncryptor::new(context.clone(), &set.public_key(&context).unwrap()).unwrap();
        let symmetric = SymmetricEncryptor::new(context.clone(), &secret).unwrap();
        let decryptor = Decryptor::new(context.clone(), &secret).unwrap();
        let mut sampler = Sampler::from_os().unwrap();
        let message = Plaintext::Bfv((0..1024).map(|i| i % 17).collect());
        (0..8)
            .flat_map(|_| {
                // 17 k + 1 times the message is the message.
                let mut ciphertext = symmetric.encrypt(&message, None).unwrap();
                let scaled = Arc::clone(&context);
                for (k, row) in ciphertext.data_mut().chunks_exact_mut(1024).enumerate() {
                    let q = scaled.modulus(k % 2);
                    row.iter_mut().for_each(|r| *r = q.mul(*r, q.reduce(17 * factor + 1)));
                }
                if hide {
                    let flooding = flooding(&context, 2, Form::Coefficient, BITS, &mut sampler);
                    ciphertext = public.rerandomize(&ciphertext, &flooding, &mut sampler).unwrap();
                }
                assert_eq!(decryptor.decrypt(&ciphertext).unwrap(), message);
                decryptor.noise(&ciphertext)
            })
            .collect()
    }

    /// How many deviations apart the variances of two samples are, as those of normal variables would be.
    fn apart(a: &[f64], b: &[f64]) -> f64 {
        let variance = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        ((variance(a) / variance(b)).ln() / (4.0 / a.len() as f64).sqrt()).abs()
    }

    #[test]
    fn noise_tells_nothing_of_a_weight() {
        // Noise of 2^7 and of 2^37, under flooding of 2^60: N e / (2 B) is 2^-13. A normal variable exceeds 6 deviations once
        // in 5 * 10^8 runs; a uniform one has less spread in its variance.
        let hidden = [noises(1, true), noises(1 << 30, true)];
        let distance = apart(&hidden[0], &hidden[1]);
        assert!(distance < 6.0, "{distance}");
        let mean = hidden[0].iter().chain(&hidden[1]).map(|x| x.abs()).sum::<f64>() / 16384.0;
        // In units of 1/q, times t: B t / (2 q) on average.
        assert!((mean / (2f64.powi(59) * 17.0 / 2f64.powi(91)) - 1.0).abs() < 0.1, "{mean}");
        let bare = apart(&noises(1, false), &noises(1 << 30, false));
        assert!(bare > 1000.0, "{bare}");
    }

    #[test]
    fn every_polynomial_changes_and_ciphertexts_of_three_keep_their_message() {
        let context =
            Context::new(Parameters::ckks(1024, primes::create(1024, &[50, 50]).unwrap(), false).unwrap()).unwrap();
        let secret = secret_key(&context).unwrap();
        let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
        let set = generator.key_set(None, &BTreeMap::new(), &Cancellation::new()).unwrap();
        let public = PublicEncryptor::new(context.clone(), &set.public_key(&context).unwrap()).unwrap();
        let decryptor = Decryptor::new(context.clone(), &secret).unwrap();
        let mut sampler = Sampler::from_os().unwrap();
        let transparent = Ciphertext::zero(&context, 3, 2, Form::Ntt, 1.0);
        let none = Residues::zeros(2 * 1024);
        let hidden = public.rerandomize(&transparent, &none, &mut sampler).unwrap();
        for i in 0..3 {
            assert!(hidden.poly(i).iter().filter(|&&r| r == 0).count() < 4);
        }
        let Plaintext::Ckks { mut data, .. } = decryptor.decrypt(&hidden).unwrap() else { panic!() };
        change_form(&context, Form::Ntt, Form::Coefficient, &mut data);
        // u e + e0 + e1 s, and the same times s: deviations of about 2^6.7 and 2^11.4.
        assert!(data[..1024].iter().all(|&r| context.modulus(0).center(r).unsigned_abs() < 1 << 16));
        assert!(public.rerandomize(&transparent, &none[1024..], &mut sampler).is_err());
    }
}
