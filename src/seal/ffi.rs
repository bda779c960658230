//! SEAL's C interface, as the crate sealy builds and links it: owned handles and typed calls.
//!
//! sealy's own wrappers keep their handles private and lack half of what this crate needs (DESIGN.md),
//! so every object is made and destroyed here, and nothing of sealy's Rust is used.

use std::ffi::{c_int, c_long, c_void};
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

// Links SEAL.
use sealy as _;

use super::wire::Compression;
use crate::error::{Error, Result};
use crate::scheme::ParmsId;

type Raw = *mut c_void;

/// A C++ class of SEAL's, named by an empty Rust type.
pub(super) trait Class {
    /// Its destructor.
    const DESTROY: unsafe extern "C" fn(Raw) -> c_long;
}

/// An object of SEAL's that Rust owns.
pub(super) struct Owned<C: Class> {
    handle: NonNull<c_void>,
    class: PhantomData<C>,
}

// SAFETY: SEAL's objects have no thread affinity and take their memory from a pool behind a mutex.
unsafe impl<C: Class> Send for Owned<C> {}
// SAFETY: calls through a shared reference are C++ const methods; those that cache (a decryptor's and a key
// generator's powers of the secret key) do so behind a reader-writer lock. Everything else takes `&mut`.
unsafe impl<C: Class> Sync for Owned<C> {}

impl<C: Class> Drop for Owned<C> {
    fn drop(&mut self) {
        // SAFETY: the handle came from this class's constructor and nobody else destroys it. The answer is
        // an error only for a null pointer.
        unsafe { C::DESTROY(self.handle.as_ptr()) };
    }
}

impl<C: Class> Owned<C> {
    /// Takes what a constructor wrote.
    fn adopt(operation: &'static str, handle: Raw) -> Result<Self> {
        let handle = NonNull::new(handle);
        let handle = handle.ok_or_else(|| Error::Seal { operation, reason: "it made nothing".into() })?;
        Ok(Self { handle, class: PhantomData })
    }
}

/// What SEAL's answer means.
fn check(operation: &'static str, code: c_long) -> Result<()> {
    let reason = match code as u32 {
        0 => return Ok(()),
        0x8000_4003 => "a pointer is null",
        0x8007_0057 => "an argument is not valid for it (parameters, level, form, scale or size)",
        0x8007_000E => "out of memory",
        0x8013_1620 => "bytes cannot be saved or loaded",
        0x8013_1509 => "it is not possible on this object (a missing key, or a result that would be transparent)",
        _ => "an unexpected error",
    };
    Err(Error::Seal { operation, reason: reason.into() })
}

/// Something that a call takes, and what C takes for it.
trait Argument {
    type C;
    fn c(self) -> Self::C;
}

impl<C: Class> Argument for &Owned<C> {
    type C = Raw;
    fn c(self) -> Raw {
        self.handle.as_ptr()
    }
}

impl<C: Class> Argument for &mut Owned<C> {
    type C = Raw;
    fn c(self) -> Raw {
        self.handle.as_ptr()
    }
}

impl<C: Class> Argument for Option<&Owned<C>> {
    type C = Raw;
    fn c(self) -> Raw {
        self.map_or(null_mut(), |object| object.handle.as_ptr())
    }
}

impl Argument for &ParmsId {
    type C = *const u64;
    fn c(self) -> *const u64 {
        self.as_ptr()
    }
}

macro_rules! written {
    ($($value:ty),*) => { $(
        impl Argument for &mut $value {
            type C = *mut $value;
            fn c(self) -> *mut $value {
                self
            }
        }
    )* };
}
written!(bool, c_int);

macro_rules! by_value {
    ($($number:ty),*) => { $(
        impl Argument for $number {
            type C = $number;
            fn c(self) -> $number {
                self
            }
        }
    )* };
}
by_value!(bool, u8, u32, u64, c_int, f64);

/// SEAL's default memory pool.
pub(super) struct DefaultPool;

impl Argument for DefaultPool {
    type C = Raw;
    fn c(self) -> Raw {
        null_mut()
    }
}

/// SEAL's classes with their destructors.
macro_rules! classes {
    ($( $(#[$doc:meta])* $class:ident, $destroy:ident; )*) => {
        unsafe extern "C" {
            $( fn $destroy(object: Raw) -> c_long; )*
        }
        $(
            $(#[$doc])*
            pub(super) enum $class {}
            impl Class for $class {
                const DESTROY: unsafe extern "C" fn(Raw) -> c_long = $destroy;
            }
        )*
    };
}

/// Safe functions that call SEAL.
macro_rules! calls {
    ($( $symbol:ident as $name:ident ( $($argument:ident : $ty:ty),* ); )*) => {
        unsafe extern "C" {
            $( fn $symbol($($argument: <$ty as Argument>::C),*) -> c_long; )*
        }
        $(
            pub(super) fn $name($($argument: $ty),*) -> Result<()> {
                // SAFETY: the declaration has SEAL's signature (seal/c/*.h). Each pointer comes from a reference: it
                // is alive during the call, of the class or length that SEAL takes it for, and exclusive where SEAL
                // writes. SEAL copies what it keeps, and its C layer turns its exceptions into answers.
                check(stringify!($symbol), unsafe { $symbol($($argument.c()),*) })
            }
        )*
    };
}

/// Safe functions that make an object of SEAL's.
macro_rules! constructors {
    ($( $symbol:ident as $name:ident ( $($argument:ident : $ty:ty),* ) -> $class:ty; )*) => {
        unsafe extern "C" {
            $( fn $symbol($($argument: <$ty as Argument>::C,)* made: *mut Raw) -> c_long; )*
        }
        $(
            pub(super) fn $name($($argument: $ty),*) -> Result<Owned<$class>> {
                let mut made = null_mut();
                // SAFETY: as in `calls`; SEAL writes the handle of a new object, which is then ours to destroy.
                check(stringify!($symbol), unsafe { $symbol($($argument.c(),)* &mut made) })?;
                Owned::adopt(stringify!($symbol), made)
            }
        )*
    };
}

classes! {
    /// `seal::EncryptionParameters`
    EncryptionParameters, EncParams_Destroy;
    /// `seal::Modulus`
    Modulus, Modulus_Destroy;
    /// `seal::SEALContext`
    SealContext, SEALContext_Destroy;
    /// `seal::KeyGenerator`
    KeyGenerator, KeyGenerator_Destroy;
    /// `seal::SecretKey`
    SecretKey, SecretKey_Destroy;
    /// `seal::PublicKey`
    PublicKey, PublicKey_Destroy;
    /// `seal::KSwitchKeys`, which `seal::RelinKeys` and `seal::GaloisKeys` are without further members
    KSwitchKeys, KSwitchKeys_Destroy;
    /// `seal::Ciphertext`
    Ciphertext, Ciphertext_Destroy;
    /// `seal::Plaintext`
    Plaintext, Plaintext_Destroy;
    /// `seal::Encryptor`
    Encryptor, Encryptor_Destroy;
    /// `seal::Decryptor`
    Decryptor, Decryptor_Destroy;
    /// `seal::Evaluator`
    Evaluator, Evaluator_Destroy;
    /// `seal::BatchEncoder`
    BatchEncoder, BatchEncoder_Destroy;
    /// `seal::CKKSEncoder`
    CkksEncoder, CKKSEncoder_Destroy;
}

constructors! {
    EncParams_Create1 as new_parameters(scheme: u8) -> EncryptionParameters;
    Modulus_Create1 as new_modulus(value: u64) -> Modulus;
    SEALContext_Create as new_context(parameters: &Owned<EncryptionParameters>, expand: bool, security: c_int) -> SealContext;
    KeyGenerator_Create1 as new_key_generator(context: &Owned<SealContext>) -> KeyGenerator;
    KeyGenerator_Create2 as key_generator_of(context: &Owned<SealContext>, secret_key: &Owned<SecretKey>) -> KeyGenerator;
    KeyGenerator_SecretKey as secret_key_of(generator: &Owned<KeyGenerator>) -> SecretKey;
    KeyGenerator_CreatePublicKey as create_public_key(generator: &Owned<KeyGenerator>, save_seed: bool) -> PublicKey;
    KeyGenerator_CreateRelinKeys as create_relin_keys(generator: &Owned<KeyGenerator>, save_seed: bool) -> KSwitchKeys;
    SecretKey_Create1 as new_secret_key() -> SecretKey;
    PublicKey_Create1 as new_public_key() -> PublicKey;
    KSwitchKeys_Create1 as new_kswitch_keys() -> KSwitchKeys;
    Ciphertext_Create1 as new_ciphertext(pool: DefaultPool) -> Ciphertext;
    Plaintext_Create1 as new_plaintext(pool: DefaultPool) -> Plaintext;
    Encryptor_Create as new_encryptor(
        context: &Owned<SealContext>,
        public_key: Option<&Owned<PublicKey>>,
        secret_key: Option<&Owned<SecretKey>>
    ) -> Encryptor;
    Decryptor_Create as new_decryptor(context: &Owned<SealContext>, secret_key: &Owned<SecretKey>) -> Decryptor;
    Evaluator_Create as new_evaluator(context: &Owned<SealContext>) -> Evaluator;
    BatchEncoder_Create as new_batch_encoder(context: &Owned<SealContext>) -> BatchEncoder;
    CKKSEncoder_Create as new_ckks_encoder(context: &Owned<SealContext>) -> CkksEncoder;
}

calls! {
    EncParams_SetPolyModulusDegree as set_degree(parameters: &mut Owned<EncryptionParameters>, degree: u64);
    EncParams_SetPlainModulus2 as set_plain_modulus(parameters: &mut Owned<EncryptionParameters>, value: u64);
    SEALContext_ParametersSet as parameters_set(context: &Owned<SealContext>, set: &mut bool);
    Encryptor_Encrypt as encrypt(
        encryptor: &Owned<Encryptor>, plaintext: &Owned<Plaintext>, out: &mut Owned<Ciphertext>, pool: DefaultPool
    );
    Encryptor_EncryptSymmetric as encrypt_symmetric(
        encryptor: &Owned<Encryptor>, plaintext: &Owned<Plaintext>, save_seed: bool, out: &mut Owned<Ciphertext>,
        pool: DefaultPool
    );
    Decryptor_Decrypt as decrypt(
        decryptor: &Owned<Decryptor>, ciphertext: &Owned<Ciphertext>, out: &mut Owned<Plaintext>
    );
    Decryptor_InvariantNoiseBudget as noise_budget(
        decryptor: &Owned<Decryptor>, ciphertext: &Owned<Ciphertext>, bits: &mut c_int
    );
    Evaluator_Negate as negate(evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, out: &mut Owned<Ciphertext>);
    Evaluator_Add as add(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, b: &Owned<Ciphertext>, out: &mut Owned<Ciphertext>
    );
    Evaluator_Sub as sub(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, b: &Owned<Ciphertext>, out: &mut Owned<Ciphertext>
    );
    Evaluator_AddPlain as add_plain(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, b: &Owned<Plaintext>, out: &mut Owned<Ciphertext>
    );
    Evaluator_SubPlain as sub_plain(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, b: &Owned<Plaintext>, out: &mut Owned<Ciphertext>
    );
    Evaluator_MultiplyPlain as multiply_plain(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, b: &Owned<Plaintext>, out: &mut Owned<Ciphertext>,
        pool: DefaultPool
    );
    Evaluator_Multiply as multiply(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, b: &Owned<Ciphertext>, out: &mut Owned<Ciphertext>,
        pool: DefaultPool
    );
    Evaluator_Square as square(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, out: &mut Owned<Ciphertext>, pool: DefaultPool
    );
    Evaluator_Relinearize as relinearize(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, keys: &Owned<KSwitchKeys>, out: &mut Owned<Ciphertext>,
        pool: DefaultPool
    );
    Evaluator_RescaleToNext as rescale_to_next(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, out: &mut Owned<Ciphertext>, pool: DefaultPool
    );
    Evaluator_ModSwitchToNext1 as mod_switch_to_next(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, out: &mut Owned<Ciphertext>, pool: DefaultPool
    );
    Evaluator_TransformToNTT2 as transform_to_ntt(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, out: &mut Owned<Ciphertext>
    );
    Evaluator_TransformFromNTT as transform_from_ntt(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, out: &mut Owned<Ciphertext>
    );
    Evaluator_ApplyGalois as apply_galois(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, element: u32, keys: &Owned<KSwitchKeys>,
        out: &mut Owned<Ciphertext>, pool: DefaultPool
    );
    Evaluator_RotateRows as rotate_rows(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, steps: c_int, keys: &Owned<KSwitchKeys>,
        out: &mut Owned<Ciphertext>, pool: DefaultPool
    );
    Evaluator_RotateVector as rotate_vector(
        evaluator: &Owned<Evaluator>, a: &Owned<Ciphertext>, steps: c_int, keys: &Owned<KSwitchKeys>,
        out: &mut Owned<Ciphertext>, pool: DefaultPool
    );
}

unsafe extern "C" {
    fn EncParams_SetCoeffModulus(parameters: Raw, length: u64, moduli: *const Raw) -> c_long;
    fn SEALContext_ParameterErrorMessage(context: Raw, text: *mut u8, length: *mut u64) -> c_long;
    fn KeyGenerator_CreateGaloisKeysFromElts(
        generator: Raw,
        count: u64,
        elements: *const u32,
        save_seed: bool,
        made: *mut Raw,
    ) -> c_long;
    fn BatchEncoder_Encode2(encoder: Raw, count: u64, values: *const i64, out: Raw) -> c_long;
    fn BatchEncoder_Decode2(encoder: Raw, plaintext: Raw, count: *mut u64, values: *mut i64, pool: Raw) -> c_long;
    fn CKKSEncoder_Encode1(
        encoder: Raw,
        count: u64,
        values: *const f64,
        parms_id: *const u64,
        scale: f64,
        out: Raw,
        pool: Raw,
    ) -> c_long;
    fn CKKSEncoder_Decode1(encoder: Raw, plaintext: Raw, count: *mut u64, values: *mut f64, pool: Raw) -> c_long;
}

/// Sets the primes of the coefficient modulus.
pub(super) fn set_coefficient_modulus(
    parameters: &mut Owned<EncryptionParameters>,
    moduli: &[Owned<Modulus>],
) -> Result<()> {
    let handles: Vec<Raw> = moduli.iter().map(|modulus| modulus.c()).collect();
    // SAFETY: SEAL reads `length` live handles of moduli and copies the moduli.
    let code = unsafe { EncParams_SetCoeffModulus(parameters.c(), handles.len() as u64, handles.as_ptr()) };
    check("EncParams_SetCoeffModulus", code)
}

/// Why SEAL takes the parameters of a context to be unusable.
pub(super) fn parameter_error(context: &Owned<SealContext>) -> String {
    let mut length = 0;
    // SAFETY: for a null text SEAL writes the text's length alone.
    let code = unsafe { SEALContext_ParameterErrorMessage(context.c(), null_mut(), &mut length) };
    let mut text = vec![0; length as usize + 1];
    if code == 0 {
        // SAFETY: SEAL writes the `length` bytes that it announced and a final zero; the buffer has room for both.
        unsafe { SEALContext_ParameterErrorMessage(context.c(), text.as_mut_ptr(), &mut length) };
    }
    text.truncate(length as usize);
    String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned()
}

/// Makes keys for Galois elements.
pub(super) fn create_galois_keys(
    generator: &Owned<KeyGenerator>,
    elements: &[u32],
    save_seed: bool,
) -> Result<Owned<KSwitchKeys>> {
    const OPERATION: &str = "KeyGenerator_CreateGaloisKeysFromElts";
    let mut made = null_mut();
    // SAFETY: SEAL reads `count` elements and writes the handle of a new object, which is then ours.
    let code = unsafe {
        KeyGenerator_CreateGaloisKeysFromElts(
            generator.c(),
            elements.len() as u64,
            elements.as_ptr(),
            save_seed,
            &mut made,
        )
    };
    check(OPERATION, code)?;
    Owned::adopt(OPERATION, made)
}

/// Encodes up to N integers modulo t, one a slot.
pub(super) fn batch_encode(encoder: &Owned<BatchEncoder>, values: &[i64], out: &mut Owned<Plaintext>) -> Result<()> {
    // SAFETY: SEAL reads `count` values and writes to the plaintext.
    let code = unsafe { BatchEncoder_Encode2(encoder.c(), values.len() as u64, values.as_ptr(), out.c()) };
    check("BatchEncoder_Encode2", code)
}

/// Decodes N integers in (-t/2, t/2].
pub(super) fn batch_decode(
    encoder: &Owned<BatchEncoder>,
    plaintext: &Owned<Plaintext>,
    slots: usize,
) -> Result<Vec<i64>> {
    let (mut values, mut count) = (vec![0; slots], 0);
    // SAFETY: SEAL writes one value for each of its slots, N of them; the callers give N.
    let code = unsafe { BatchEncoder_Decode2(encoder.c(), plaintext.c(), &mut count, values.as_mut_ptr(), null_mut()) };
    check("BatchEncoder_Decode2", code).map(|()| values)
}

/// Encodes up to N/2 reals at a level and scale.
pub(super) fn ckks_encode(
    encoder: &Owned<CkksEncoder>,
    values: &[f64],
    parms_id: &ParmsId,
    scale: f64,
    out: &mut Owned<Plaintext>,
) -> Result<()> {
    // SAFETY: SEAL reads `count` values and the parms_id, and writes to the plaintext.
    let code = unsafe {
        CKKSEncoder_Encode1(
            encoder.c(),
            values.len() as u64,
            values.as_ptr(),
            parms_id.as_ptr(),
            scale,
            out.c(),
            null_mut(),
        )
    };
    check("CKKSEncoder_Encode1", code)
}

/// Decodes N/2 reals.
pub(super) fn ckks_decode(
    encoder: &Owned<CkksEncoder>,
    plaintext: &Owned<Plaintext>,
    slots: usize,
) -> Result<Vec<f64>> {
    let (mut values, mut count) = (vec![0.0; slots], 0);
    // SAFETY: SEAL writes one value for each of its slots, N/2 of them; the callers give N/2.
    let code = unsafe { CKKSEncoder_Decode1(encoder.c(), plaintext.c(), &mut count, values.as_mut_ptr(), null_mut()) };
    check("CKKSEncoder_Decode1", code).map(|()| values)
}

/// An object that SEAL saves and loads.
pub(super) trait Saved: Class + Sized {
    /// Bytes that the object takes at most.
    fn save_size(object: &Owned<Self>, compression: Compression) -> Result<usize>;
    /// The object as SEAL's bytes.
    fn save(object: &Owned<Self>, compression: Compression) -> Result<Vec<u8>>;
    /// Loads bytes, with SEAL's validation. They must be SEAL's or of this crate's writers.
    fn load(object: &mut Owned<Self>, context: &Owned<SealContext>, bytes: &[u8]) -> Result<()>;
}

macro_rules! saved {
    ($( $class:ident: $size:ident, $save:ident, $load:ident; )*) => {
        unsafe extern "C" {
            $(
                fn $size(object: Raw, compression: u8, size: *mut i64) -> c_long;
                fn $save(object: Raw, out: *mut u8, size: u64, compression: u8, written: *mut i64) -> c_long;
                fn $load(object: Raw, context: Raw, bytes: *const u8, size: u64, read: *mut i64) -> c_long;
            )*
        }
        $(
            impl Saved for $class {
                fn save_size(object: &Owned<Self>, compression: Compression) -> Result<usize> {
                    let mut size = 0;
                    // SAFETY: SEAL writes one number.
                    check(stringify!($size), unsafe { $size(object.c(), compression as u8, &mut size) })?;
                    Ok(size as usize)
                }

                fn save(object: &Owned<Self>, compression: Compression) -> Result<Vec<u8>> {
                    let mut bytes = vec![0; Self::save_size(object, compression)?];
                    let (size, mut written) = (bytes.len() as u64, 0);
                    // SAFETY: SEAL writes at most `size` bytes to the buffer, and one number.
                    let code = unsafe { $save(object.c(), bytes.as_mut_ptr(), size, compression as u8, &mut written) };
                    check(stringify!($save), code)?;
                    bytes.truncate(written as usize);
                    Ok(bytes)
                }

                fn load(object: &mut Owned<Self>, context: &Owned<SealContext>, bytes: &[u8]) -> Result<()> {
                    let (size, mut read) = (bytes.len() as u64, 0);
                    // SAFETY: SEAL reads at most `size` bytes from the buffer, and writes one number and the object.
                    let code = unsafe { $load(object.c(), context.c(), bytes.as_ptr(), size, &mut read) };
                    check(stringify!($load), code)
                }
            }
        )*
    };
}

saved! {
    SecretKey: SecretKey_SaveSize, SecretKey_Save, SecretKey_Load;
    PublicKey: PublicKey_SaveSize, PublicKey_Save, PublicKey_Load;
    KSwitchKeys: KSwitchKeys_SaveSize, KSwitchKeys_Save, KSwitchKeys_Load;
    Ciphertext: Ciphertext_SaveSize, Ciphertext_Save, Ciphertext_Load;
    Plaintext: Plaintext_SaveSize, Plaintext_Save, Plaintext_Load;
}
