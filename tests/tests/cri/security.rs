//! A container's security context: by our handler and by runc's it may do the same.

use serde_json::{Value, json};
use sharedroot_tests::cri::Pod;
use sharedroot_tests::kernel_view::{confinement, confinement_of};

use crate::HANDLERS;

/// What a process in it sees of what it may do. Of the devices not those that come and go with roots, nor the link to
/// /proc/kcore, which runc calls core and the embedded engine kcore.
const LOOK: &str = "cat /proc/self/status; echo --; id; ulimit -n
    touch /new 2>&1; ls -ld /proc/kcore /proc/scsi /sys/firmware | cut -c1-10
    grep -E ' /(proc|sys)[^ ]* ' /proc/self/mountinfo | cut -d' ' -f5,6 | sort
    [ -e /dev/kmsg ] || (echo 1 > /proc/sys/net/ipv4/ip_forward) 2>&1
    ls /dev | grep -vE '^(dm-|loop|mapper|k?core)'";

/// By both handlers the same, a container's process and an exec in it; what the first may do.
#[track_caller]
fn same(pods: &[Pod; 2], readonly: bool, context: impl Fn(&mut Value)) -> Vec<String> {
    let [ours, runcs] = pods.each_ref().map(|pod| {
        let edit = |config: &mut Value| context(&mut config["linux"]["security_context"]);
        let container = pod.run(readonly, edit);
        let text = container.sh(LOOK);
        let (status, seen) = text.split_once("\n--\n").expect("a separator");
        let init = confinement_of(container.pid());
        assert_eq!(confinement(status), init, "exec and the container");
        (init, seen.to_owned())
    });
    assert_eq!(ours, runcs);
    assert_eq!(ours.1.contains("/new: Read-only file system"), readonly, "{}", ours.1);
    ours.0
}

/// A kubelet's, where a container is not privileged.
fn masks(context: &mut Value) {
    context["masked_paths"] =
        json!(["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/scsi", "/sys/firmware"]);
    context["readonly_paths"] =
        json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]);
}

#[track_caller]
fn has(lines: &[String], wanted: &[&str]) {
    for wanted in wanted {
        assert!(lines.iter().any(|line| line == wanted), "{wanted:?} is not in {lines:#?}");
    }
}

#[test]
fn vm_a_security_context_is_what_it_is_with_runc() {
    // Only a pod that may be privileged may have a container that is.
    let pods = HANDLERS.map(|handler| {
        Pod::new(handler, |pod| pod["linux"]["security_context"]["privileged"] = true.into())
    });
    let found = same(&pods, true, masks);
    has(&found, &["NoNewPrivs:\t0", "Seccomp:\t2", "CapEff:\t00000000a80425fb"]);
    // The pod security standard "restricted".
    let found = same(&pods, true, |context| {
        masks(context);
        context["run_as_user"] = json!({"value": 1000});
        context["run_as_group"] = json!({"value": 3000});
        context["supplemental_groups"] = json!([2000]);
        context["no_new_privs"] = true.into();
        context["capabilities"] = json!({"drop_capabilities": ["ALL"]});
    });
    has(&found, &["NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"]);
    has(&found, &["Uid:\t1000\t1000\t1000\t1000", "Gid:\t3000\t3000\t3000\t3000"]);
    has(&found, &["Groups:\t2000 3000"]);
    // Unconfined, with a capability more and one less.
    let found = same(&pods, false, |context| {
        masks(context);
        context["seccomp"] = json!({"profile_type": 1});
        context["capabilities"] =
            json!({"add_capabilities": ["NET_ADMIN"], "drop_capabilities": ["CHOWN"]});
    });
    has(&found, &["Seccomp:\t0", "CapEff:\t00000000a80435fa"]);
    let found = same(&pods, false, |context| {
        context["privileged"] = true.into();
        context.as_object_mut().expect("an object").remove("seccomp");
    });
    has(&found, &["Seccomp:\t0"]);
    assert!(found.iter().any(|line| line.starts_with("CapEff:\t000001ff")), "{found:?}");
}
