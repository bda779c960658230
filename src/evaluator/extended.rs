//! BFV's product in three steps, so that what lies between them can be used: many products can be
//! summed before the one division that makes a ciphertext of the sum.
//!
//! 1. [`lift`](Evaluator::lift): ciphertext -> [`Extended`], the same polynomials modulo q and an
//!    auxiliary modulus p, in NTT form.
//! 2. [`tensor_square`](Evaluator::tensor_square), [`tensor_product`](Evaluator::tensor_product),
//!    [`add_square`](Evaluator::add_square), [`add_product`](Evaluator::add_product): weighted sums of
//!    products as integer polynomials in the secret key -> [`ExtendedProduct`].
//! 3. [`scale_down`](Evaluator::scale_down): round(t/q x) modulo q -> ciphertext.
//!
//! The method is that of Halevi, Polyakov and Shoup (ePrint 2018/117), section 4, with the division's
//! result computed directly modulo q; p exceeds q by room for the sums, whatever t is.

use std::sync::Arc;

use num_bigint::BigUint;

use super::multiply::product_size;
use super::{Evaluator, modulus_product, tensor};
use crate::error::{Error, Result};
use crate::ring::{BaseConverter, Modulus, NttTable, Residues, primes};
use crate::scheme::{Ciphertext, Context, Form, Scheme};

/// Bits of the auxiliary primes: the widest that every backend's fastest kernels take.
const AUXILIARY_BITS: u32 = 50;

/// The number of products of two polynomials that a sum has room for at every level; a square of a ciphertext of s
/// polynomials counts as s.
pub const MIN_TERMS: u64 = 1 << 10;

/// The primes of q and p for one level, and the conversions between them.
#[derive(Debug)]
pub(super) struct ProductBase {
    /// the primes of q, then those of p
    tables: Vec<Arc<NttTable>>,
    /// how many of them are q's
    primes: usize,
    lift: BaseConverter,
    scale_down: BaseConverter,
    /// how many products of two polynomials a sum may have
    capacity: u64,
}

impl ProductBase {
    /// # Errors
    /// [`Error::PrimesExhausted`] where the auxiliary primes do not exist.
    fn new(context: &Context, primes: usize) -> Result<Self> {
        let degree = context.degree();
        let q = modulus_product(context, primes);
        // Coefficients lie within q/2, so a product's within N q^2 / 4, and half of the range of
        // residues modulo q p is q p / 2; another factor 2 keeps the conversion away from its border.
        let unit = &q * degree;
        let bits = (&unit * MIN_TERMS).bits();
        let count = bits.div_ceil(u64::from(AUXILIARY_BITS) - 1) as usize;
        let taken = context.parameters().moduli();
        let mut p = BigUint::from(1u32);
        let mut tables = context.tables()[..primes].to_vec();
        for prime in primes::largest(2 * degree as u64, AUXILIARY_BITS, count + taken.len())? {
            if p < &unit * MIN_TERMS && !taken.contains(&prime) {
                p *= prime;
                tables.push(Arc::new(NttTable::new(degree, Modulus::new(prime)?)?));
            }
        }
        let moduli: Vec<Modulus> = tables.iter().map(|table| table.modulus()).collect();
        let lift = BaseConverter::new(&moduli[..primes], &moduli[primes..])?;
        let t = BigUint::from(context.parameters().plain_modulus());
        let scale_down = BaseConverter::scaled(&moduli, &moduli[..primes], [&t, &q])?;
        let capacity = u64::try_from(p / unit).unwrap_or(u64::MAX);
        Ok(Self { tables, primes, lift, scale_down, capacity })
    }

    fn degree(&self) -> usize {
        self.tables[0].degree()
    }

    /// Residues of one polynomial.
    fn poly_len(&self) -> usize {
        self.tables.len() * self.degree()
    }
}

/// The polynomials of a BFV ciphertext modulo q and p, in NTT form.
#[derive(Debug, Clone)]
pub struct Extended {
    base: Arc<ProductBase>,
    /// `[size][primes of q, primes of p][N]`
    data: Residues,
}

impl Extended {
    /// The number of polynomials.
    pub fn size(&self) -> usize {
        self.data.len() / self.base.poly_len()
    }
}

/// A sum of products of [`Extended`] ciphertexts, in NTT form.
#[derive(Debug, Clone)]
pub struct ExtendedProduct {
    base: Arc<ProductBase>,
    /// `[size][primes of q, primes of p][N]`
    data: Residues,
    /// products of two polynomials summed, each as often as its weight says
    terms: u64,
}

impl ExtendedProduct {
    /// The number of polynomials.
    pub fn size(&self) -> usize {
        self.data.len() / self.base.poly_len()
    }
}

impl Evaluator {
    /// A BFV ciphertext, in either form, modulo q and p.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for CKKS, [`Error::ParametersMismatch`].
    pub fn lift(&self, a: &Ciphertext) -> Result<Extended> {
        self.check("lifting", a)?;
        let base = self.product_base(a.primes())?;
        let degree = base.degree();
        let mut data = Residues::stale(a.size() * base.poly_len());
        let mut coefficients = Residues::stale(if a.form() == Form::Ntt { base.primes * degree } else { 0 });
        for (i, out) in data.chunks_exact_mut(base.poly_len()).enumerate() {
            let (own, auxiliary) = out.split_at_mut(base.primes * degree);
            own.copy_from_slice(a.poly(i));
            let (tables, auxiliary_tables) = base.tables.split_at(base.primes);
            match a.form() {
                Form::Coefficient => {
                    base.lift.convert(auxiliary, own);
                    forward(tables, own);
                }
                Form::Ntt => {
                    coefficients.copy_from_slice(own);
                    inverse(tables, &mut coefficients);
                    base.lift.convert(auxiliary, &coefficients);
                }
            }
            forward(auxiliary_tables, auxiliary);
        }
        Ok(Extended { base, data })
    }

    /// a^2 as integer polynomials, of size 2 size_a - 1.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the result would have more than 16 polynomials.
    pub fn tensor_square(&self, a: &Extended) -> Result<ExtendedProduct> {
        let size = product_size("squaring", a.size(), a.size())?;
        let mut data = Residues::stale(size * a.base.poly_len());
        tensor::square(&a.base.tables, &mut data, &a.data);
        Ok(ExtendedProduct { base: a.base.clone(), data, terms: a.size() as u64 })
    }

    /// a b as integer polynomials, of size size_a + size_b - 1.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the result would have more than 16 polynomials,
    /// [`Error::OperandMismatch`] where the levels differ.
    pub fn tensor_product(&self, a: &Extended, b: &Extended) -> Result<ExtendedProduct> {
        check_base("multiplication", &a.base, &b.base)?;
        let size = product_size("multiplication", a.size(), b.size())?;
        let mut data = Residues::stale(size * a.base.poly_len());
        tensor::multiply(&a.base.tables, &mut data, &a.data, &b.data);
        Ok(ExtendedProduct { base: a.base.clone(), data, terms: a.size().min(b.size()) as u64 })
    }

    /// sum += weight a^2.
    ///
    /// # Errors
    /// As [`add_tensor`](Evaluator::add_tensor).
    pub fn add_square(&self, sum: &mut ExtendedProduct, a: &Extended, weight: i64) -> Result<()> {
        self.add_tensor(sum, &self.tensor_square(a)?, weight)
    }

    /// sum += weight a b.
    ///
    /// # Errors
    /// As [`add_tensor`](Evaluator::add_tensor), and those of [`tensor_product`](Evaluator::tensor_product).
    pub fn add_product(&self, sum: &mut ExtendedProduct, a: &Extended, b: &Extended, weight: i64) -> Result<()> {
        self.add_tensor(sum, &self.tensor_product(a, b)?, weight)
    }

    /// sum += weight product.
    ///
    /// # Errors
    /// [`Error::OperandMismatch`] where sizes or levels differ, [`Error::InvalidArgument`] where the
    /// weights of the sum add up to more than there is room for (at least 2^9 squares of size 2).
    pub fn add_tensor(&self, sum: &mut ExtendedProduct, product: &ExtendedProduct, weight: i64) -> Result<()> {
        const OPERATION: &str = "summing products";
        check_base(OPERATION, &sum.base, &product.base)?;
        if sum.size() != product.size() {
            return Err(Error::OperandMismatch {
                operation: OPERATION,
                what: "sizes",
                left: sum.size().to_string(),
                right: product.size().to_string(),
                remedy: "sum products of the same size",
            });
        }
        let terms = product.terms.saturating_mul(weight.unsigned_abs()).saturating_add(sum.terms);
        let capacity = sum.base.capacity;
        if terms > capacity {
            let reason = format!(
                "the weights add up to {terms} products of polynomials and there is room for {capacity}; scale down earlier"
            );
            return Err(Error::InvalidArgument { name: "weight", reason });
        }
        sum.terms = terms;
        let tables = sum.base.tables.iter().cycle();
        let degree = sum.base.degree();
        let rows = sum.data.chunks_exact_mut(degree).zip(product.data.chunks_exact(degree));
        for ((x, y), table) in rows.zip(tables) {
            let kernels = table.kernels();
            match weight {
                1 => kernels.add_assign(x, y),
                -1 => kernels.sub_assign(x, y),
                _ => kernels.mul_scalar_add(x, y, table.modulus().reduce_signed(weight)),
            }
        }
        Ok(())
    }

    /// round(t/q x) modulo q for the polynomials x of a product: a BFV ciphertext in the form asked for.
    pub fn scale_down(&self, product: ExtendedProduct, form: Form) -> Result<Ciphertext> {
        let ExtendedProduct { base, mut data, .. } = product;
        if !self
            .levels
            .get(base.primes - 1)
            .is_some_and(|level| level.product.get().is_some_and(|own| Arc::ptr_eq(own, &base)))
        {
            return Err(Error::ParametersMismatch { operation: "scaling down", object: "product" });
        }
        let size = data.len() / base.poly_len();
        let mut scaled = Ciphertext::stale(&self.context, size, base.primes, form, 1.0);
        for (i, x) in data.chunks_exact_mut(base.poly_len()).enumerate() {
            inverse(&base.tables, x);
            let out = scaled.poly_mut(i);
            base.scale_down.convert(out, x);
            if form == Form::Ntt {
                forward(&base.tables[..base.primes], out);
            }
        }
        Ok(scaled)
    }

    fn product_base(&self, primes: usize) -> Result<Arc<ProductBase>> {
        if self.scheme() != Scheme::Bfv {
            let reason = "only BFV's products need an extended base; multiply CKKS ciphertexts directly".into();
            return Err(Error::Unsupported { operation: "lifting", reason });
        }
        let slot = &self.level(primes).product;
        if let Some(base) = slot.get() {
            return Ok(base.clone());
        }
        let base = Arc::new(ProductBase::new(&self.context, primes)?);
        Ok(slot.get_or_init(|| base).clone())
    }
}

fn check_base(operation: &'static str, a: &Arc<ProductBase>, b: &Arc<ProductBase>) -> Result<()> {
    if Arc::ptr_eq(a, b) {
        return Ok(());
    }
    Err(Error::OperandMismatch {
        operation,
        what: "extended bases",
        left: format!("{} primes", a.primes),
        right: format!("{} primes", b.primes),
        remedy: "lift both with one evaluator, at the same level",
    })
}

fn forward(tables: &[Arc<NttTable>], x: &mut [u64]) {
    for (x, table) in x.chunks_exact_mut(tables[0].degree()).zip(tables) {
        table.forward(x);
    }
}

fn inverse(tables: &[Arc<NttTable>], x: &mut [u64]) {
    for (x, table) in x.chunks_exact_mut(tables[0].degree()).zip(tables) {
        table.inverse(x);
    }
}
