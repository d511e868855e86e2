//! Questions to the loaded policy. The kernel answers them from the policy in permissive mode, too.

use std::ffi::CString;

use selinux::{SecurityClass, SecurityContext};
use sharedroot_sys::chain::chain;

use super::LabelError;

/// Checks that the loaded policy knows the label (`security check_context`).
///
/// # Errors
/// [`LabelError::Unknown`], also if this process may not ask.
pub fn check_context(field: &'static str, label: &str) -> Result<(), LabelError> {
    let unknown = || LabelError::Unknown { field, label: label.to_owned() };
    let text = CString::new(label).map_err(|_| unknown())?;
    match SecurityContext::from_c_str(&text, true).check() {
        Some(true) => Ok(()),
        _ => Err(unknown()),
    }
}

/// What the loaded policy allows and denies (`security compute_av`).
#[derive(Debug)]
pub struct AccessDecision {
    /// The permissions that are allowed.
    pub allowed: Vec<&'static str>,
    /// The permissions that are denied. A permission that the policy does not define is in neither list.
    pub denied: Vec<&'static str>,
}

/// Asks which of `permissions` a process with the label `process` has for an object of this class and label.
///
/// # Errors
/// [`LabelError::Ask`].
pub fn compute_access(
    process: &str,
    label: &str,
    class: &'static str,
    permissions: &[&'static str],
) -> Result<AccessDecision, LabelError> {
    let fail = |why: String| {
        let (process, label) = (process.to_owned(), label.to_owned());
        LabelError::Ask { process, label, class, why }
    };
    let number = SecurityClass::from_name(class).map_err(|e| fail(chain(&e)))?;
    let bit = |name: &&'static str| Some((*name, number.access_vector_bit(name).ok()?));
    let bits: Vec<_> = permissions.iter().filter_map(bit).collect();
    let all = bits.iter().fold(0, |all, (_, bit)| all | bit);
    let [Ok(process), Ok(object)] = [process, label].map(CString::new) else {
        return Err(fail("a label has a NUL byte in it".to_owned()));
    };
    let decision = SecurityContext::from_c_str(&process, true)
        .query_access_decision(&SecurityContext::from_c_str(&object, true), number, all)
        .map_err(|e| fail(chain(&e)))?;
    let (allowed, denied): (Vec<_>, Vec<_>) =
        bits.iter().partition(|(_, bit)| decision.allowed & bit != 0);
    let names = |bits: Vec<&(&'static str, _)>| bits.iter().map(|(name, _)| *name).collect();
    Ok(AccessDecision { allowed: names(allowed), denied: names(denied) })
}
