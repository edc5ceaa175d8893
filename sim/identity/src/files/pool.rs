//! CA certificates that were read before: a fleet's files repeat them, and each is parsed once.

use crate::certificate::{Certificate, CertificateFault};
use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

/// Certificates kept at most, and the largest that is.
const CAPACITY: usize = 4096;
const LARGEST_KEPT: usize = 8 << 10;

/// Reads certificates, each CA's once.
///
/// Bounded: what comes when it is full, is large or is no CA's is parsed each time. Shared between threads.
#[derive(Debug, Default)]
pub struct CertificatePool {
    known: RwLock<HashSet<ByContent>>,
    capacity: usize,
}

/// A certificate that is looked up by its bytes.
#[derive(Debug)]
struct ByContent(Arc<Certificate>);

impl Borrow<[u8]> for ByContent {
    fn borrow(&self) -> &[u8] {
        self.0.der()
    }
}

impl Hash for ByContent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.der().hash(state);
    }
}

impl PartialEq for ByContent {
    fn eq(&self, other: &Self) -> bool {
        self.0.der() == other.0.der()
    }
}

impl Eq for ByContent {}

impl CertificatePool {
    /// For many files.
    pub fn new() -> Self {
        CertificatePool { known: RwLock::default(), capacity: CAPACITY }
    }

    /// For one file: remembers nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// The certificate of these bytes, from memory where it is known.
    pub fn read(&self, der: &[u8]) -> Result<Arc<Certificate>, CertificateFault> {
        if self.capacity > 0
            && let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(der)
        {
            return Ok(known.0.clone());
        }
        let certificate = Arc::new(Certificate::from_der(der)?);
        if self.capacity > 0 && certificate.is_ca() && der.len() <= LARGEST_KEPT {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() < self.capacity {
                known.insert(ByContent(certificate.clone()));
            }
        }
        Ok(certificate)
    }

    /// How many it remembers.
    pub fn len(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether it remembers nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
