//! The client's side of every layout: it encrypts images and decrypts answers, and has no weights. [`http`] reaches a service.

pub mod http;
mod layout;

use std::sync::Arc;

use rayon::prelude::*;

use crate::encoding::CkksEncoder;
use crate::encryption::{Decryptor, KeyGenerator, PublicEncryptor, SymmetricEncryptor, keygen};
use crate::error::{Error, Result};
use crate::plan::envelope::{self, Identity, Kind};
use crate::plan::packed::exact::interface::ExactEncoder;
use crate::plan::{batched, packed, per_value};
use crate::protocol;
use crate::runtime::Cancellation;
use crate::scheme::{Context, Plaintext, PublicKey, SecretKey};

pub use layout::Layout;

/// What a client encrypts with.
#[derive(Debug, Clone, Copy)]
pub enum EncryptionKey<'a> {
    /// its own key: half the bytes, and less noise
    Secret(&'a SecretKey),
    /// for whoever may encrypt but not decrypt
    Public(&'a PublicKey),
}

/// Which way a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// encrypted images, to the server
    Images,
    /// encrypted answers, to the client
    Answers,
}

/// The client's part of a program, ready for use.
#[derive(Debug)]
pub struct Client {
    layout: Layout,
    /// one for each plaintext modulus, where there are several; the first is that of the keys
    contexts: Vec<Arc<Context>>,
}

impl Client {
    /// The client's part of a packed program.
    ///
    /// # Errors
    /// Those of the parameters and the encoder; so for all layouts.
    pub fn packed(part: packed::Interface) -> Result<Self> {
        let context = Context::new(part.arrangement.parameters.clone())?;
        Ok(Self { layout: Layout::Packed(part, CkksEncoder::new(context.clone())?), contexts: vec![context] })
    }

    /// The client's part of a packed program of BFV.
    ///
    /// # Errors
    /// As [`packed`](Self::packed).
    pub fn exact(part: packed::exact::ExactInterface) -> Result<Self> {
        let contexts = part.contexts()?;
        Ok(Self { layout: Layout::Exact(part, ExactEncoder::new(&contexts)?), contexts })
    }

    /// The client's part of a batched program.
    ///
    /// # Errors
    /// As [`packed`](Self::packed).
    pub fn batched(part: batched::Interface) -> Result<Self> {
        let context = Context::new(part.parameters.clone())?;
        Ok(Self { layout: Layout::Batched(part, CkksEncoder::new(context.clone())?), contexts: vec![context] })
    }

    /// The client's part of a per-value program.
    ///
    /// # Errors
    /// As [`packed`](Self::packed).
    pub fn per_value(part: per_value::Interface) -> Result<Self> {
        let (context, encoder) = (Context::new(part.parameters.clone())?, part.encoder()?);
        Ok(Self { layout: Layout::PerValue(part, encoder), contexts: vec![context] })
    }

    /// A client's part from its file, of which there may be `limit` bytes once it is expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], and errors of the parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        match envelope::kind(bytes)? {
            Kind::BatchedClient => Self::batched(batched::Interface::from_bytes(bytes, limit)?),
            Kind::ExactClient => Self::exact(packed::exact::ExactInterface::from_bytes(bytes, limit)?),
            Kind::PerValueClient => Self::per_value(per_value::Interface::from_bytes(bytes, limit)?),
            // Any other kind is refused there.
            _ => Self::packed(packed::Interface::from_bytes(bytes, limit)?),
        }
    }

    /// The client's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.layout.to_bytes()
    }

    /// Where values lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The context of the keys, and of ciphertexts modulo the first plaintext modulus.
    pub fn context(&self) -> &Arc<Context> {
        &self.contexts[0]
    }

    /// What tells the program from others.
    pub fn program(&self) -> &Identity {
        self.layout.program()
    }

    /// Bytes of the key set that the server needs, as it is sent.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for keys that there cannot be, which no client's part asks for.
    pub fn key_set_len(&self) -> Result<usize> {
        let (relinearization, rotations) = self.layout.keys();
        KeyGenerator::packed_len(self.context(), relinearization, rotations)
    }

    /// A fresh secret key and a public key for it; the key set that the server needs, the public key and the evaluation keys of
    /// the program, is written to `key_set`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of bytes than [`key_set_len`](Self::key_set_len), [`Error::Entropy`],
    /// [`Error::Interrupted`].
    pub fn generate_keys(&self, key_set: &mut [u8], cancellation: &Cancellation) -> Result<(SecretKey, PublicKey)> {
        let secret = keygen::secret_key(self.context())?;
        let (relinearization, rotations) = self.layout.keys();
        let generator = KeyGenerator::new(self.context().clone(), &secret)?;
        let public = generator.write_key_set(relinearization, rotations, key_set, cancellation)?;
        Ok((secret, public))
    }

    /// Encrypts flattened images, as many as one run takes or fewer.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] and [`Error::Unencodable`] for unusable images, [`Error::ParametersMismatch`] for another
    /// context's key, [`Error::Entropy`], [`Error::Interrupted`].
    pub fn encrypt(&self, key: EncryptionKey<'_>, images: &[f64], cancellation: &Cancellation) -> Result<Vec<u8>> {
        let encrypt = |(context, plaintexts): (&Arc<Context>, Vec<Plaintext>)| match key {
            EncryptionKey::Secret(key) => {
                let encryptor = SymmetricEncryptor::new(context.clone(), &key.shared(self.context(), context))?;
                let ciphertexts = encryptor.encrypt_seeded(&plaintexts, None, cancellation)?;
                protocol::pack_seeded(self.program(), context, &ciphertexts, plaintexts.len())
            }
            EncryptionKey::Public(key) => {
                let encryptor = PublicEncryptor::new(context.clone(), &key.shared(self.context(), context))?;
                let ciphertexts = encryptor.encrypt_all(&plaintexts, None, cancellation)?;
                protocol::pack(self.program(), context, &ciphertexts)
            }
        };
        let messages = self.contexts.iter().zip(self.layout.encode(images)?).map(encrypt);
        Ok(protocol::bundle(self.program(), messages.collect::<Result<_>>()?))
    }

    /// Decrypts the answers to the first `count` images, flattened.
    ///
    /// # Errors
    /// [`Error::Malformed`] for damaged bytes, [`Error::ParametersMismatch`] for an answer of another program or another
    /// context's key, [`Error::NoiseBudgetExhausted`](Error::NoiseBudgetExhausted) where a BFV answer cannot be decrypted,
    /// [`Error::Interrupted`].
    pub fn decrypt(
        &self,
        secret: &SecretKey,
        answer: &[u8],
        count: usize,
        cancellation: &Cancellation,
    ) -> Result<Vec<f64>> {
        let mut plaintexts = Vec::new();
        for (context, message) in
            self.contexts.iter().zip(protocol::unbundle(self.program(), answer, self.contexts.len())?)
        {
            let ciphertexts = protocol::unpack(self.program(), context, message, self.layout.answer_ciphertexts())?;
            let decryptor = Decryptor::new(context.clone(), &secret.shared(self.context(), context))?;
            plaintexts.extend(decryptor.decrypt_all(&ciphertexts, cancellation)?);
        }
        let capacity = self.layout.capacity();
        if !(1..=capacity).contains(&count) {
            let reason = format!("{count}; one message holds the answers to 1 to {capacity} images");
            return Err(Error::InvalidArgument { name: "count", reason });
        }
        self.layout.decode(&plaintexts, count)
    }

    /// The smallest invariant noise budget of a message's ciphertexts, in bits: see [`Decryptor::noise_budget`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] for CKKS, those of reading a message as in [`decrypt`](Self::decrypt), [`Error::Interrupted`].
    pub fn noise_budget(
        &self,
        secret: &SecretKey,
        message: &[u8],
        kind: Message,
        cancellation: &Cancellation,
    ) -> Result<u32> {
        let count = match kind {
            Message::Images => self.layout.image_ciphertexts(),
            Message::Answers => self.layout.answer_ciphertexts(),
        };
        let mut smallest = u32::MAX;
        for (context, message) in
            self.contexts.iter().zip(protocol::unbundle(self.program(), message, self.contexts.len())?)
        {
            let decryptor = Decryptor::new(context.clone(), &secret.shared(self.context(), context))?;
            let ciphertexts = protocol::unpack(self.program(), context, message, count)?;
            let budgets = ciphertexts.par_iter().map(|ciphertext| {
                cancellation.check()?;
                decryptor.noise_budget(ciphertext)
            });
            smallest = smallest.min(budgets.try_reduce(|| u32::MAX, |a, b| Ok(a.min(b)))?);
        }
        Ok(smallest)
    }
}
