//! Certificates of an authority of our own.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// An authority and the folder with its files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// Makes an authority; its files go to this folder.
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let authority = Self { issuer, folder: folder.to_owned() };
        std::fs::write(authority.file("ca.pem"), authority.issuer.pem()).expect("a writable folder");
        authority
    }

    /// Its own certificate, a PEM file.
    pub fn certificate(&self) -> String {
        self.file("ca.pem")
    }

    /// Certificate and key of this name or address, two PEM files.
    pub fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        // Of another name than the authority: clients take it for self-signed otherwise.
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (cert, private) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        std::fs::write(&cert, certificate.pem()).expect("a writable folder");
        std::fs::write(&private, key.serialize_pem()).expect("a writable folder");
        (cert, private)
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}
