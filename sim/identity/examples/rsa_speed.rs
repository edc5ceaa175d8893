//! tmp
use sim_identity::*;
fn main(){ for a in [KeyAlgorithm::Rsa2048,KeyAlgorithm::Rsa2048,KeyAlgorithm::Rsa2048,KeyAlgorithm::Rsa4096]{ let t=std::time::Instant::now(); static N: std::sync::atomic::AtomicU64=std::sync::atomic::AtomicU64::new(0); PrivateKey::derive(&Seed::from_number(1),"x",N.fetch_add(1,std::sync::atomic::Ordering::Relaxed),a).unwrap(); println!("{a} {:?}",t.elapsed()); } }
