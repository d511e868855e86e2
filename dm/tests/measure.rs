//! measure
#[allow(dead_code)]
mod lab;
use devicemapper::{DM, DevId, DmName, DmOptions};
use lab::{Place, fill, name, run};
use sharedroot_dm::{Backing, Bytes, Pool};
use std::time::{Duration, Instant};

fn median(v: &mut [Duration]) -> (Duration, Duration) {
    v.sort();
    (v[v.len() / 2], v[v.len() - 1])
}

#[test]
fn root_measure() {
    for mib in [30u64, 300, 1000] {
        let mut one = Place::new("one");
        let mut two = Place::new("two");
        one.config.backing = Backing::Loop { data: Bytes::gib(2), metadata: Bytes::mib(64) };
        let mut nodes = vec![];
        for (n, s) in [("d", "2G"), ("m", "64M")] {
            let f = format!("/var/lib/m-{n}");
            run("truncate", &["-s", s, &f]);
            nodes.push(
                run("losetup", &["--find", "--show", "--direct-io=on", &f]).trim().to_owned(),
            );
        }
        two.config.backing =
            Backing::Devices { data: nodes[0].clone().into(), metadata: nodes[1].clone().into() };
        let pools = [Pool::create(&one.config).unwrap(), Pool::create(&two.config).unwrap()];
        for pool in &pools {
            let new = pool.create_volume(&name("base"), Bytes::gib(10)).unwrap();
            for part in 0..mib / 3 {
                fill(new.device(), Bytes::mib(part * (9000 / (mib / 3))), Bytes::mib(3), b'x')
                    .unwrap();
            }
            new.seal().unwrap();
            pool.activate(&name("base")).unwrap();
        }
        let dm = DM::new().unwrap();
        let mut t: Vec<Vec<Duration>> = vec![vec![]; 5];
        for round in 0..30u64 {
            for (i, pool) in pools.iter().enumerate() {
                let a = Instant::now();
                let dev = pool.snapshot(&name("base"), &name("s")).unwrap().keep().unwrap().device;
                t[3].push(a.elapsed());
                for part in 0..8 {
                    fill(&dev, Bytes::mib(part * 1000 + round), Bytes::kib(128), b'y').unwrap();
                }
                let a = Instant::now();
                pool.delete(&name("s")).unwrap();
                t[i].push(a.elapsed());
            }
            // raw: the same steps by hand on the second pool
            let pool = &pools[1];
            let dev = pool.snapshot(&name("base"), &name("s")).unwrap().keep().unwrap().device;
            for part in 0..8 {
                fill(&dev, Bytes::mib(part * 1000 + round), Bytes::kib(128), b'y').unwrap();
            }
            let id = pool.volume(&name("s")).unwrap().unwrap().id;
            let a = Instant::now();
            dm.device_remove(
                &DevId::Name(DmName::new("sharedroot-two-s").unwrap()),
                DmOptions::default(),
            )
            .unwrap();
            dm.target_msg(
                &DevId::Name(DmName::new("sharedroot-two").unwrap()),
                None,
                &format!("delete {id}"),
            )
            .unwrap();
            t[2].push(a.elapsed());
            pool.delete(&name("s")).unwrap();
        }
        println!(
            "base {mib} MiB: delete on loop (discard) {:?}, on devices {:?}, raw remove+delete {:?}; snapshot {:?}",
            median(&mut t[0]),
            median(&mut t[1]),
            median(&mut t[2]),
            median(&mut t[3])
        );
        let [a, b] = pools;
        a.destroy().unwrap();
        b.destroy().unwrap();
        for n in nodes {
            run("losetup", &["-d", &n]);
        }
    }
}
