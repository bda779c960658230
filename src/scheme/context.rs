//! Parameters with everything that is computed from them once.

use std::sync::Arc;

use super::parameters::{Parameters, ParmsId};
use crate::error::Result;
use crate::ring::{Modulus, NttTable};

/// Parameters, NTT tables and parms_ids, shared by keys, encryptors and evaluators.
#[derive(Debug)]
pub struct Context {
    parameters: Parameters,
    tables: Vec<Arc<NttTable>>,
    /// parms_id by number of primes, from one prime up
    parms_ids: Vec<ParmsId>,
}

impl Context {
    /// Computes the tables (milliseconds).
    ///
    /// # Errors
    /// [`Error::InvalidModulus`](crate::Error::InvalidModulus).
    pub fn new(parameters: Parameters) -> Result<Arc<Self>> {
        let tables = parameters
            .moduli()
            .iter()
            .map(|&q| Ok(Arc::new(NttTable::new(parameters.degree(), Modulus::new(q)?)?)))
            .collect::<Result<_>>()?;
        let parms_ids = (1..=parameters.moduli().len()).map(|primes| parameters.parms_id(primes)).collect();
        Ok(Arc::new(Self { parameters, tables, parms_ids }))
    }

    /// The same ring for another BFV plaintext modulus, with the tables shared.
    ///
    /// # Errors
    /// Those of [`Parameters::bfv`].
    pub fn with_plain_modulus(&self, plain_modulus: u64) -> Result<Arc<Self>> {
        let own = &self.parameters;
        let parameters = Parameters::bfv(own.degree(), own.moduli().to_vec(), own.key_switching(), plain_modulus)?;
        let parms_ids = (1..=parameters.moduli().len()).map(|primes| parameters.parms_id(primes)).collect();
        Ok(Arc::new(Self { parameters, tables: self.tables.clone(), parms_ids }))
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The polynomial degree N.
    pub fn degree(&self) -> usize {
        self.parameters.degree()
    }

    /// The NTT tables, one for each prime, the key-switching prime (if any) last.
    pub fn tables(&self) -> &[Arc<NttTable>] {
        &self.tables
    }

    /// Prime number j.
    #[inline]
    pub fn modulus(&self, j: usize) -> Modulus {
        self.tables[j].modulus()
    }

    /// How many primes a fresh ciphertext has.
    pub fn data_primes(&self) -> usize {
        self.parameters.data_moduli().len()
    }

    /// How many primes keys have.
    pub fn key_primes(&self) -> usize {
        self.tables.len()
    }

    /// The parms_id of objects with the first `primes` primes.
    pub fn parms_id(&self, primes: usize) -> ParmsId {
        self.parms_ids[primes - 1]
    }

    /// The parms_id of keys.
    pub fn key_parms_id(&self) -> ParmsId {
        self.parms_id(self.key_primes())
    }

    /// The number of primes that a parms_id of these parameters stands for.
    pub fn primes_of(&self, parms_id: &ParmsId) -> Option<usize> {
        self.parms_ids.iter().position(|id| id == parms_id).map(|i| i + 1)
    }
}
