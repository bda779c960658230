//! What a server does to an answer before it leaves: it is [re-randomised](crate::encryption::flooding), so that nothing but
//! the answer tells of the weights, and dropped to the smallest modulus that holds it.
//!
//! *BFV* floods with all the noise budget that is left: coefficients uniform in [-B, B), B the largest power of two with
//! 16 t B <= q. An answer that had a budget of b bits is hidden by 2^(b - 4) times its noise. Where a number's digits show,
//! a [`DigitMask`] hides them.
//!
//! *CKKS* has no such room, because noise is error: the real parts of the slots that hold answers are flooded by a normal
//! variable of a deviation that the caller chooses. All else that a client sees when it decrypts, the other slots and the
//! imaginary parts, costs no precision, and is flooded with what the modulus has room for: coefficients of deviation q / 128.
//! With noise of deviation e in a slot and a flooding of deviation d, an answer of n values is within the statistical
//! distance sqrt(n) e / (2 d) of one with other noise as small (Pinsker). One image in a ciphertext leaves
//! answers, copies of them, and zeros; where several share one, other slots may hold sums over a part of the inputs, and the
//! same q / 128 masks them, some 2^5 times their size.

use std::sync::Arc;

use num_complex::Complex64;
use rayon::prelude::*;

use crate::encoding::CkksEncoder;
use crate::encryption::sampling::{Sampler, fresh_seed};
use crate::encryption::{PublicEncryptor, flooding};
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::plan::digit_mask::DigitMask;
use crate::ring::Residues;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Plaintext, PublicKey, Scheme};

/// Coefficients of the mask have a deviation of q / 2^this: seven deviations and an answer stay below q / 4, beyond which
/// decoding takes a result for wrapped.
const MASK_BITS: i32 = 7;

/// Deviations that count as the largest of many coefficients.
const DEVIATIONS: f64 = 8.0;

/// A client's public key, made ready to re-randomise the answers of one program.
pub struct Rerandomizer {
    encryptor: PublicEncryptor,
    encoder: Option<CkksEncoder>,
}

impl Rerandomizer {
    /// Prepares a public key.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] where the key belongs to other parameters.
    pub fn new(context: &Arc<Context>, key: &PublicKey) -> Result<Self> {
        let encoder = match context.parameters().scheme() {
            Scheme::Ckks => Some(CkksEncoder::new(context.clone())?),
            Scheme::Bfv => None,
        };
        Ok(Self { encryptor: PublicEncryptor::new(context.clone(), key)?, encoder })
    }

    /// BFV answers, flooded with all their noise budget, at the lowest level that decrypts. Those of fractional encoding, in
    /// coefficient form, come with a `mask` for their digits.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the parameters [have no room](has_room) for it, those of
    /// [`PublicEncryptor::rerandomize`], [`Error::Entropy`], [`Error::Interrupted`].
    pub fn bfv(
        &self,
        evaluator: &Evaluator,
        answers: &[Ciphertext],
        mask: Option<&DigitMask>,
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        let context = evaluator.context();
        if answers.iter().any(|answer| !has_room(context, answer.primes())) {
            let reason = "the parameters have no room for it; choose a larger degree, or go without".into();
            return Err(Error::Unsupported { operation: "re-randomising", reason });
        }
        each(answers, cancellation, |answer, sampler| {
            let bits = bfv_flooding_bits(context, answer.primes());
            let flood = flooding(context, answer.primes(), answer.form(), bits, sampler);
            let mut hidden = self.encryptor.rerandomize(answer, &flood, sampler)?;
            if let Some(zero) = mask.map(|mask| mask.draw(sampler)).transpose()?.flatten() {
                hidden = evaluator.add_plain(&hidden, &zero)?;
            }
            evaluator.mod_switch_to(&hidden, lowest_level(context, &hidden))
        })
    }

    /// CKKS answers: `holds` says which slots hold answers, `deviation` is that of the flooding of their real parts, in units
    /// of decoded numbers.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a deviation that the modulus has no room for, those of
    /// [`PublicEncryptor::rerandomize`], [`Error::Entropy`], [`Error::Interrupted`].
    pub fn ckks(
        &self,
        evaluator: &Evaluator,
        answers: &[Ciphertext],
        holds: impl Fn(usize) -> bool + Sync,
        deviation: f64,
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        let Some(encoder) = &self.encoder else {
            let reason = "these are BFV parameters".into();
            return Err(Error::Unsupported { operation: "flooding slots", reason });
        };
        let context = evaluator.context();
        each(answers, cancellation, |answer, sampler| {
            let flood = self.slot_flooding(encoder, answer, &holds, deviation, sampler)?;
            let mut hidden = self.encryptor.rerandomize(answer, &flood, sampler)?;
            while hidden.primes() > 1 && can_be_rescaled(context, &hidden, deviation) {
                hidden = evaluator.rescale_to_next(&hidden)?;
            }
            Ok(hidden)
        })
    }

    fn slot_flooding(
        &self,
        encoder: &CkksEncoder,
        answer: &Ciphertext,
        holds: &impl Fn(usize) -> bool,
        deviation: f64,
        sampler: &mut Sampler,
    ) -> Result<Residues> {
        let context = encoder.context();
        let (primes, scale) = (answer.primes(), answer.scale());
        let coefficient = modulus(context, primes) / 2f64.powi(MASK_BITS);
        // Of the real and imaginary part of a slot: sqrt(N / 2) times that of coefficients.
        let mask = coefficient * (context.degree() as f64 / 2.0).sqrt() / scale;
        if !(0.0..=mask).contains(&deviation) {
            let reason =
                format!("a deviation of {deviation:.3} where the modulus has room for {mask:.3}; ask for less");
            return Err(Error::InvalidArgument { name: "flooding", reason });
        }
        let slots: Vec<Complex64> = (0..encoder.slots())
            .map(|slot| {
                let real = if holds(slot) { deviation } else { mask };
                Complex64::new(real * sampler.gaussian(), mask * sampler.gaussian())
            })
            .collect();
        let Plaintext::Ckks { mut data, .. } = encoder.encode_complex(&slots, scale, primes)? else {
            return Err(Error::Unsupported { operation: "flooding slots", reason: "these are no CKKS slots".into() });
        };
        // Large coefficients are doubles whose last bits are zero; these are filled up.
        let last_bits = (coefficient.log2() - 44.0).max(2.0) as u32;
        let filling = flooding(context, primes, answer.form(), last_bits, sampler);
        for (j, (row, addend)) in
            data.chunks_exact_mut(context.degree()).zip(filling.chunks_exact(context.degree())).enumerate()
        {
            context.tables()[j].kernels().add_assign(row, addend);
        }
        Ok(data)
    }
}

/// Every answer with a stream of randomness of its own, on the rayon pool of the caller.
fn each(
    answers: &[Ciphertext],
    cancellation: &Cancellation,
    hide: impl Fn(&Ciphertext, &mut Sampler) -> Result<Ciphertext> + Sync,
) -> Result<Vec<Ciphertext>> {
    let seed = zeroize::Zeroizing::new(fresh_seed()?);
    answers
        .par_iter()
        .enumerate()
        .map(|(i, answer)| {
            cancellation.check()?;
            hide(answer, &mut Sampler::from_seed(&seed, i as u64))
        })
        .collect()
}

/// The product of the first primes.
fn modulus(context: &Context, primes: usize) -> f64 {
    (0..primes).map(|j| context.modulus(j).value() as f64).product()
}

/// The deviation of what rounding the polynomials of a ciphertext to integers does to a coefficient of its message.
fn rounding(context: &Context, size: usize) -> f64 {
    let degree = context.degree() as f64;
    (2.0 * degree / 3.0).sqrt().powi(size as i32 - 1) / 12f64.sqrt()
}

/// Whether BFV answers of so many primes can be re-randomised: the noise of an encryption under a public key is no more than
/// the flooding.
pub fn has_room(context: &Context, primes: usize) -> bool {
    let noise = DEVIATIONS * 3.2 * (4.0 * context.degree() as f64 / 3.0).sqrt();
    f64::from(bfv_flooding_bits(context, primes)) >= noise.log2()
}

/// The bits b of BFV's flooding: 16 t 2^b <= q.
fn bfv_flooding_bits(context: &Context, primes: usize) -> u32 {
    let t = context.parameters().plain_modulus() as f64;
    (modulus(context, primes) / (16.0 * t)).log2().floor().max(0.0) as u32
}

/// The fewest primes at which the rounding of modulus switching fits beside the flooding.
fn lowest_level(context: &Context, answer: &Ciphertext) -> usize {
    let t = context.parameters().plain_modulus() as f64;
    let noise = DEVIATIONS * rounding(context, answer.size());
    (1..answer.primes()).find(|&primes| 16.0 * t * noise <= modulus(context, primes)).unwrap_or(answer.primes())
}

/// Whether the rounding of a division by the last prime is small beside the flooding, also in the slots where it is largest.
///
/// In a slot it is a sum of products of rounded-off parts with powers of the secret's value there, whose square is 2N/3 on
/// average and about ln(N/2) times as much in one of the slots. That weighs little where there is the first power only. A
/// ciphertext of five polynomials, a product of products that is not relinearised, has the fourth.
fn can_be_rescaled(context: &Context, answer: &Ciphertext, deviation: f64) -> bool {
    let slots = context.degree() as f64 / 2.0;
    let scale = answer.scale() / context.modulus(answer.primes() - 1).value() as f64;
    let largest = slots.ln().sqrt().powi(answer.size() as i32 - 2);
    slots.sqrt() * rounding(context, answer.size()) * largest / scale <= deviation / 4.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::encryption::keygen::{KeyGenerator, secret_key};
    use crate::encryption::{Decryptor, SymmetricEncryptor};
    use crate::evaluator::packed::PackedKeys;
    use crate::network::{Activation, AffineMap, Layer, Network};
    use crate::plan::NormalForm;
    use crate::plan::packed::{PackedOptions, PackedProgram, Plan};

    /// What a client sees of the noise of packed answers of a network whose weights have `spread` decades, each real and each
    /// imaginary part of a slot in units of the deviation of its flooding (or all in the same unit, where there is none).
    struct Seen {
        answers: Vec<f64>,
        rest: Vec<f64>,
    }

    const DEVIATION: f64 = 0.02;

    fn seen(network: &Network, flooded: bool) -> Seen {
        let cancellation = Cancellation::new();
        let images: Vec<f64> = (0..16 * network.inputs()).map(|i| ((i * 37 % 101) as f64 / 101.0).sqrt()).collect();
        let plan = Plan::new(&NormalForm::new(network, &images).unwrap(), PackedOptions::default()).unwrap();
        let program = PackedProgram::new(plan, &cancellation).unwrap();
        let (context, interface) = (program.context().clone(), program.plan().interface.clone());
        let encoder = CkksEncoder::new(context.clone()).unwrap();
        let mut found = Seen { answers: Vec::new(), rest: Vec::new() };
        for image in images.chunks_exact(network.inputs()) {
            // Keys of its own for each image: the noise of key switching depends on them.
            let secret = secret_key(&context).unwrap();
            let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
            let set = generator
                .key_set(interface.arrangement.relinearization, &interface.arrangement.rotations, &cancellation)
                .unwrap();
            let keys = PackedKeys::new(&context, set.expand(&context, &cancellation).unwrap()).unwrap();
            let rerandomizer = Rerandomizer::new(&context, &set.public_key(&context).unwrap()).unwrap();
            let slots = interface.slots_of(image).unwrap();
            let exact = program.plan().evaluate_slots(slots.clone(), None);
            let plaintext = encoder.encode(&slots, interface.input_scale, context.data_primes()).unwrap();
            let fresh = SymmetricEncryptor::new(context.clone(), &secret).unwrap().encrypt(&plaintext, None).unwrap();
            let mut answer = program.run(&fresh, &keys, &cancellation).unwrap();
            let mut units = [DEVIATION, 1.0];
            if flooded {
                let deviation = DEVIATION * interface.output_factor;
                answer = program.rerandomize(&answer, &rerandomizer, deviation, &cancellation).unwrap();
                let coefficient = modulus(&context, answer.primes()) / 2f64.powi(MASK_BITS);
                units[1] = coefficient * (context.degree() as f64 / 2.0).sqrt() / answer.scale();
            }
            let decrypted = Decryptor::new(context.clone(), &secret).unwrap().decrypt(&answer).unwrap();
            for (i, (slot, exact)) in encoder.decode_complex(&decrypted).unwrap().iter().zip(&exact).enumerate() {
                if interface.arrangement.output.contains(&(i as u32)) {
                    found.answers.push((slot.re - exact) / units[0]);
                } else {
                    found.rest.push((slot.re - exact) / units[1]);
                }
                found.rest.push(slot.im / units[1]);
            }
        }
        found
    }

    /// 64 inputs, 32 squares, 16 answers. Both networks have the same shape and so the same parameters; the answers of one are
    /// sums of many large terms that nearly cancel, those of the other single inputs.
    fn network(cancelling: bool) -> Network {
        let weight = |i: usize, j: usize, columns: usize| match cancelling {
            true => 40.0 * ((i * columns + j) as f64 * 1.7).sin(),
            false => f64::from(u8::from(i == j)) * 0.5,
        };
        let dense = |rows: usize, columns: usize| {
            let weights: Vec<f64> = (0..rows * columns).map(|k| weight(k / columns, k % columns, columns)).collect();
            AffineMap::linear(&weights, [rows, columns], None).unwrap()
        };
        let square = Layer::activation("square", Activation::Square);
        Network::new(&[64], vec![Layer::affine("first", dense(32, 64)), square, Layer::affine("last", dense(16, 32))])
            .unwrap()
    }

    fn variance(x: &[f64]) -> f64 {
        x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64
    }

    /// How many standard deviations apart the logarithms of the variances of two normal samples are.
    fn apart(a: &[f64], b: &[f64]) -> f64 {
        let error = (2.0 / a.len() as f64 + 2.0 / b.len() as f64).sqrt();
        ((variance(a) / variance(b)).ln() / error).abs()
    }

    #[test]
    fn the_noise_of_replies_does_not_depend_on_the_weights() {
        let [one, other] = [false, true].map(network);
        // Without: the noise of the two differs, in the answers and in the rest. With: no difference at a significance of
        // 5 10^-7 (5 deviations), by the same statistic on as many samples.
        let bare = [seen(&one, false), seen(&other, false)];
        assert!(apart(&bare[0].answers, &bare[1].answers) > 5.0, "{}", apart(&bare[0].answers, &bare[1].answers));
        assert!(apart(&bare[0].rest, &bare[1].rest) > 50.0, "{}", apart(&bare[0].rest, &bare[1].rest));
        let hidden = [seen(&one, true), seen(&other, true)];
        assert!(
            apart(&hidden[0].answers, &hidden[1].answers) < 5.0,
            "{}",
            apart(&hidden[0].answers, &hidden[1].answers)
        );
        assert!(apart(&hidden[0].rest, &hidden[1].rest) < 5.0, "{}", apart(&hidden[0].rest, &hidden[1].rest));
        // And it is the flooding that was asked for.
        for seen in &hidden {
            assert!((variance(&seen.rest) - 1.0).abs() < 0.05, "{}", variance(&seen.rest));
            assert!((variance(&seen.answers) - 1.0).abs() < 0.5, "{}", variance(&seen.answers));
        }
    }

    #[test]
    fn packed_answers_leave_nothing_else_in_their_slots() {
        for network in [network(false), network(true)] {
            let images: Vec<f64> = (0..64).map(|i| f64::from(i % 9) / 9.0).collect();
            let normal_form = NormalForm::new(&network, &images).unwrap();
            let plan = Plan::new(&normal_form, PackedOptions::default()).unwrap();
            let slots = plan.interface.slots_of(&images).unwrap();
            let last = plan.evaluate_slots(slots, None);
            let answers: Vec<f64> = plan.interface.arrangement.output.iter().map(|&slot| last[slot as usize]).collect();
            let largest = answers.iter().fold(0.0, |largest: f64, answer| largest.max(answer.abs()));
            for value in &last {
                let near =
                    answers.iter().chain(&[0.0]).map(|answer| (value - answer).abs()).fold(f64::INFINITY, f64::min);
                assert!(near < 1e-9 * largest, "{value}");
            }
        }
    }

    #[test]
    fn bfv_answers_without_room_are_refused() {
        // 27 bits of modulus and 17 of numbers: an encryption under a public key has no noise budget itself.
        for (bits, fits) in [(vec![27], false), (vec![40], true)] {
            let moduli = crate::ring::primes::create(1024, &bits).unwrap();
            let parameters = crate::scheme::Parameters::bfv(1024, moduli, false, 65537).unwrap();
            let context = Context::new(parameters).unwrap();
            let secret = secret_key(&context).unwrap();
            let set = KeyGenerator::new(context.clone(), &secret).unwrap();
            let set = set.key_set(None, &BTreeMap::new(), &Cancellation::new()).unwrap();
            let key = Rerandomizer::new(&context, &set.public_key(&context).unwrap()).unwrap();
            let message = Plaintext::Bfv((0..1024).collect());
            let answer = SymmetricEncryptor::new(context.clone(), &secret).unwrap().encrypt(&message, None).unwrap();
            let hidden = key.bfv(&Evaluator::new(context.clone()), &[answer], None, &Cancellation::new());
            assert_eq!(has_room(&context, 1), fits);
            match hidden {
                Ok(hidden) => {
                    let decrypted = Decryptor::new(context.clone(), &secret).unwrap().decrypt(&hidden[0]);
                    assert_eq!(decrypted, Ok(message));
                    assert!(fits);
                }
                Err(error) => assert_eq!((error.code(), fits), ("unsupported", false)),
            }
        }
    }

    #[test]
    fn flooding_beyond_the_modulus_is_refused() {
        let context = Context::new(
            crate::scheme::Parameters::ckks(1024, crate::ring::primes::create(1024, &[40]).unwrap(), false).unwrap(),
        )
        .unwrap();
        let secret = secret_key(&context).unwrap();
        let set = KeyGenerator::new(context.clone(), &secret).unwrap();
        let set = set.key_set(None, &BTreeMap::new(), &Cancellation::new()).unwrap();
        let key = Rerandomizer::new(&context, &set.public_key(&context).unwrap()).unwrap();
        let evaluator = Evaluator::new(context.clone());
        let answer = Ciphertext::zero(&context, 2, 1, crate::scheme::Form::Ntt, 2f64.powi(30));
        for deviation in [1e3, f64::NAN, -1.0, f64::INFINITY] {
            let refused =
                key.ckks(&evaluator, std::slice::from_ref(&answer), |_| true, deviation, &Cancellation::new());
            assert!(refused.unwrap_err().to_string().contains("ask for less"));
        }
    }
}
