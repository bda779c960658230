//! Microsoft SEAL's encryption and decryption on this crate's types; `keys` makes the keys.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::evaluator::Evaluator;
use super::ffi::{self, DefaultPool, Owned, Saved};
use super::wire::{self, Compression, Limits};
use crate::error::{Error, Result};
use crate::ring::{Modulus, NttTable, Residues, primes};
use crate::scheme::{Ciphertext, Context, Parameters, Plaintext, PublicKey, Scheme, SecretKey};

/// SEAL's own check is off: [`Parameters::check_security`] is stricter.
const NO_SECURITY_CHECK: i32 = 0;
/// SEAL's largest coefficient modulus is a prime of 60 bits.
const SPARE_PRIME_BITS: u32 = 60;

/// SEAL at work on one set of parameters.
///
/// SEAL always sets the last of several primes aside for key switching. Parameters that use all of
/// several primes for data ([`key_switching`](Parameters::key_switching) is false) therefore have only
/// their keys from a session of their own ([`SealSession::new`]); to encrypt, decrypt and evaluate
/// with all primes, a session [`with_spare_prime`](SealSession::with_spare_prime) adds one for SEAL to
/// set aside. Ciphertexts and plaintexts of such a session have the parms_ids of the original
/// parameters; secret keys of either are taken, and [`extend_secret_key`](SealSession::extend_secret_key)
/// turns one into the other.
///
/// All methods may be called from several threads at once.
pub struct SealSession {
    context: Arc<Context>,
    /// the parameters before a spare prime was added
    original: Option<Arc<Context>>,
    pub(super) seal: Owned<ffi::SealContext>,
    evaluator: Evaluator,
}

impl SealSession {
    /// A session with exactly the context's primes.
    ///
    /// # Errors
    /// [`Error::Seal`] where SEAL cannot use the parameters, with its reason.
    pub fn new(context: &Arc<Context>) -> Result<Self> {
        Self::start(Arc::clone(context), None)
    }

    /// A session whose parameters have one more prime, for SEAL to set aside.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the context has a key-switching prime already,
    /// [`Error::PrimesExhausted`], [`Error::Seal`].
    pub fn with_spare_prime(context: &Arc<Context>) -> Result<Self> {
        let parameters = context.parameters();
        if parameters.key_switching() {
            return Err(Error::Unsupported {
                operation: "adding a spare prime",
                reason: "the parameters have a key-switching prime; use SealSession::new".into(),
            });
        }
        let degree = parameters.degree();
        let candidates = primes::largest(2 * degree as u64, SPARE_PRIME_BITS, parameters.moduli().len() + 1)?;
        let spare = candidates.into_iter().find(|prime| !parameters.moduli().contains(prime));
        let moduli = parameters.moduli().iter().copied().chain(spare).collect();
        let extended = match parameters.scheme() {
            Scheme::Bfv => Parameters::bfv(degree, moduli, true, parameters.plain_modulus())?,
            Scheme::Ckks => Parameters::ckks(degree, moduli, true)?,
        };
        Self::start(Context::new(extended)?, Some(Arc::clone(context)))
    }

    fn start(context: Arc<Context>, original: Option<Arc<Context>>) -> Result<Self> {
        let seal = seal_context(context.parameters())?;
        let evaluator = Evaluator::new(&seal)?;
        Ok(Self { context, original, seal, evaluator })
    }

    /// The context of the session's keys: the one given, or the one with the spare prime.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// SEAL's evaluator, on ciphertexts that stay inside SEAL.
    pub fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Encrypts under a public key.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a session with several primes of which none is set aside,
    /// [`Error::ParametersMismatch`], [`Error::Seal`].
    pub fn encrypt(&self, public_key: &PublicKey, plaintext: &Plaintext) -> Result<Ciphertext> {
        self.needs_data_level("encrypting")?;
        let bytes = wire::write_public_key(&self.context, public_key, Compression::None)?;
        let key = self.loaded(ffi::new_public_key()?, &bytes)?;
        let encryptor = ffi::new_encryptor(&self.seal, Some(&key), None)?;
        let mut out = ffi::new_ciphertext(DefaultPool)?;
        ffi::encrypt(&encryptor, &self.load_plaintext(plaintext)?.0, &mut out, DefaultPool)?;
        self.read_ciphertext(&out)
    }

    /// Encrypts under the secret key.
    ///
    /// # Errors
    /// As [`encrypt`](SealSession::encrypt).
    pub fn encrypt_symmetric(&self, secret_key: &SecretKey, plaintext: &Plaintext) -> Result<Ciphertext> {
        self.read_ciphertext(&self.symmetric(secret_key, plaintext, false)?)
    }

    /// Encrypts under the secret key, the second polynomial given by its seed.
    ///
    /// # Errors
    /// As [`encrypt`](SealSession::encrypt).
    pub fn encrypt_seeded(&self, secret_key: &SecretKey, plaintext: &Plaintext) -> Result<wire::SeededCiphertext> {
        let bytes = self.compact_ciphertext(secret_key, plaintext, Compression::None)?;
        wire::read_seeded_ciphertext(&self.context, &bytes, Limits::CONTEXT)
    }

    /// The bytes of a seeded encryption, as SEAL saves them.
    ///
    /// # Errors
    /// As [`encrypt`](SealSession::encrypt).
    pub fn compact_ciphertext(
        &self,
        secret_key: &SecretKey,
        plaintext: &Plaintext,
        compression: Compression,
    ) -> Result<Vec<u8>> {
        Saved::save(&self.symmetric(secret_key, plaintext, true)?, compression)
    }

    fn symmetric(
        &self,
        secret_key: &SecretKey,
        plaintext: &Plaintext,
        save_seed: bool,
    ) -> Result<Owned<ffi::Ciphertext>> {
        self.needs_data_level("encrypting")?;
        let key = self.load_secret_key(secret_key)?;
        let encryptor = ffi::new_encryptor(&self.seal, None, Some(&key))?;
        let mut out = ffi::new_ciphertext(DefaultPool)?;
        let plaintext = self.load_plaintext(plaintext)?.0;
        ffi::encrypt_symmetric(&encryptor, &plaintext, save_seed, &mut out, DefaultPool)?;
        Ok(out)
    }

    /// Decrypts.
    ///
    /// # Errors
    /// As [`encrypt`](SealSession::encrypt).
    pub fn decrypt(&self, secret_key: &SecretKey, ciphertext: &Ciphertext) -> Result<Plaintext> {
        self.needs_data_level("decrypting")?;
        let decryptor = ffi::new_decryptor(&self.seal, &self.load_secret_key(secret_key)?)?;
        let mut out = ffi::new_plaintext(DefaultPool)?;
        ffi::decrypt(&decryptor, &self.load(ciphertext)?.0, &mut out)?;
        self.read_plaintext(&out)
    }

    /// The invariant noise budget of a BFV ciphertext in bits.
    ///
    /// # Errors
    /// As [`encrypt`](SealSession::encrypt); [`Error::Unsupported`] for CKKS.
    pub fn noise_budget(&self, secret_key: &SecretKey, ciphertext: &Ciphertext) -> Result<u32> {
        self.needs_data_level("measuring the noise budget")?;
        self.needs_scheme(Scheme::Bfv, "measuring the noise budget")?;
        let decryptor = ffi::new_decryptor(&self.seal, &self.load_secret_key(secret_key)?)?;
        let mut bits = 0;
        ffi::noise_budget(&decryptor, &self.load(ciphertext)?.0, &mut bits)?;
        Ok(bits.max(0) as u32)
    }

    /// Encodes up to N integers modulo t, one a slot (BFV, t prime and congruent to 1 modulo 2N).
    ///
    /// # Errors
    /// [`Error::Unsupported`] for CKKS, [`Error::Seal`].
    pub fn batch_encode(&self, values: &[i64]) -> Result<Plaintext> {
        self.needs_scheme(Scheme::Bfv, "batch encoding")?;
        let mut out = ffi::new_plaintext(DefaultPool)?;
        ffi::batch_encode(&ffi::new_batch_encoder(&self.seal)?, values, &mut out)?;
        self.read_plaintext(&out)
    }

    /// Decodes the N slots of a BFV plaintext to integers in (-t/2, t/2].
    ///
    /// # Errors
    /// As [`batch_encode`](SealSession::batch_encode).
    pub fn batch_decode(&self, plaintext: &Plaintext) -> Result<Vec<i64>> {
        self.needs_scheme(Scheme::Bfv, "batch decoding")?;
        let plaintext = self.load_plaintext(plaintext)?.0;
        ffi::batch_decode(&ffi::new_batch_encoder(&self.seal)?, &plaintext, self.context.degree())
    }

    /// Encodes up to N/2 reals at the level with `primes` primes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for BFV, [`Error::LevelExhausted`] for a level that the parameters do not have,
    /// [`Error::ScaleOutOfRange`] and [`Error::Unencodable`] for a scale or value that is not finite,
    /// [`Error::Seal`] for one that is too large.
    pub fn ckks_encode(&self, values: &[f64], primes: usize, scale: f64) -> Result<Plaintext> {
        self.needs_scheme(Scheme::Ckks, "CKKS encoding")?;
        let available = self.context.data_primes();
        if !(1..=available).contains(&primes) {
            return Err(Error::LevelExhausted { operation: "CKKS encoding", needed: primes, available });
        }
        if !(scale.is_finite() && scale > 0.0) {
            let reason = format!("scale {scale}; it must be positive and finite");
            return Err(Error::ScaleOutOfRange { operation: "CKKS encoding", reason });
        }
        if let Some((index, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::Unencodable { value, index, reason: "it must be finite".into() });
        }
        let mut out = ffi::new_plaintext(DefaultPool)?;
        let parms_id = self.context.parms_id(primes);
        ffi::ckks_encode(&ffi::new_ckks_encoder(&self.seal)?, values, &parms_id, scale, &mut out)?;
        self.read_plaintext(&out)
    }

    /// Decodes the N/2 slots of a CKKS plaintext.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for BFV, [`Error::ParametersMismatch`], [`Error::Seal`].
    pub fn ckks_decode(&self, plaintext: &Plaintext) -> Result<Vec<f64>> {
        self.needs_scheme(Scheme::Ckks, "CKKS decoding")?;
        let plaintext = self.load_plaintext(plaintext)?.0;
        ffi::ckks_decode(&ffi::new_ckks_encoder(&self.seal)?, &plaintext, self.context.degree() / 2)
    }

    /// The same secret under the session's parameters: a key of the original context gets its residues
    /// modulo the spare prime.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] for a key of any other context.
    pub fn extend_secret_key(&self, secret_key: &SecretKey) -> Result<SecretKey> {
        let mismatch = Error::ParametersMismatch { operation: "extending", object: "secret key" };
        let degree = self.context.degree();
        let original = self.original.as_ref().filter(|original| {
            secret_key.parms_id() == original.key_parms_id()
                && secret_key.data().len() == original.key_primes() * degree
        });
        let (Some(original), Some(spare)) = (original, self.context.tables().last()) else {
            return Err(mismatch);
        };
        let known = secret_key.data();
        let mut data = Residues::zeros(known.len() + degree);
        data[..known.len()].copy_from_slice(known);
        transfer_ternary(&known[..degree], &original.tables()[0], spare, &mut data[known.len()..]);
        Ok(SecretKey::from_data(self.context.key_parms_id(), data))
    }

    pub(super) fn needs_key_switching(&self, operation: &'static str) -> Result<()> {
        if self.context.parameters().key_switching() {
            return Ok(());
        }
        let reason = "the parameters set no prime aside for key switching; make them with key_switching = true";
        Err(Error::Unsupported { operation, reason: reason.into() })
    }

    fn needs_data_level(&self, operation: &'static str) -> Result<()> {
        if self.context.parameters().key_switching() || self.context.key_primes() == 1 {
            return Ok(());
        }
        let reason = "SEAL sets the last prime aside, these parameters do not; use SealSession::with_spare_prime";
        Err(Error::Unsupported { operation, reason: reason.into() })
    }

    fn needs_scheme(&self, scheme: Scheme, operation: &'static str) -> Result<()> {
        if self.context.parameters().scheme() == scheme {
            return Ok(());
        }
        Err(Error::Unsupported { operation, reason: format!("it is for {scheme:?} parameters only") })
    }

    pub(super) fn generator(&self, secret_key: &SecretKey) -> Result<Owned<ffi::KeyGenerator>> {
        ffi::key_generator_of(&self.seal, &self.load_secret_key(secret_key)?)
    }

    fn load_secret_key(&self, secret_key: &SecretKey) -> Result<Owned<ffi::SecretKey>> {
        let extended;
        let key = if secret_key.parms_id() == self.context.key_parms_id() {
            secret_key
        } else {
            extended = self.extend_secret_key(secret_key)?;
            &extended
        };
        self.loaded(ffi::new_secret_key()?, &wire::write_secret_key(key, Compression::None))
    }

    pub(super) fn loaded<C: Saved>(&self, mut object: Owned<C>, bytes: &[u8]) -> Result<Owned<C>> {
        C::load(&mut object, &self.seal, bytes)?;
        Ok(object)
    }

    pub(super) fn read_ciphertext(&self, ciphertext: &Owned<ffi::Ciphertext>) -> Result<Ciphertext> {
        wire::read_ciphertext(&self.context, &Saved::save(ciphertext, Compression::None)?, Limits::CONTEXT)
    }

    fn read_plaintext(&self, plaintext: &Owned<ffi::Plaintext>) -> Result<Plaintext> {
        wire::read_plaintext(&self.context, &Saved::save(plaintext, Compression::None)?, Limits::CONTEXT)
    }
}

impl std::fmt::Debug for SealSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealSession").field("parameters", self.context.parameters()).finish_non_exhaustive()
    }
}

/// SEAL's context for parameters.
fn seal_context(parameters: &Parameters) -> Result<Owned<ffi::SealContext>> {
    let mut seal = ffi::new_parameters(parameters.scheme().seal_id() as u8)?;
    ffi::set_degree(&mut seal, parameters.degree() as u64)?;
    let moduli = parameters.moduli().iter().map(|&q| ffi::new_modulus(q)).collect::<Result<Vec<_>>>()?;
    ffi::set_coefficient_modulus(&mut seal, &moduli)?;
    if parameters.scheme() == Scheme::Bfv {
        ffi::set_plain_modulus(&mut seal, parameters.plain_modulus())?;
    }
    let context = ffi::new_context(&seal, true, NO_SECURITY_CHECK)?;
    let mut set = false;
    ffi::parameters_set(&context, &mut set)?;
    if !set {
        return Err(Error::Seal { operation: "SEALContext_Create", reason: ffi::parameter_error(&context) });
    }
    Ok(context)
}

/// The residues modulo another prime of a polynomial with coefficients -1, 0 and 1, from NTT form to NTT form.
fn transfer_ternary(source: &[u64], from: &NttTable, to: &NttTable, out: &mut [u64]) {
    let mut coefficients: Zeroizing<Vec<u64>> = Zeroizing::new(source.to_vec());
    from.inverse(&mut coefficients);
    let (p, q): (Modulus, Modulus) = (from.modulus(), to.modulus());
    for (out, &coefficient) in out.iter_mut().zip(coefficients.iter()) {
        *out = q.reduce_signed(p.center(coefficient));
    }
    to.forward(out);
}
