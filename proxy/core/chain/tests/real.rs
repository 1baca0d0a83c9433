//! Random configurations of the real kinds.

use super::support::{Dice, Mode};

/// One of these kinds.
pub(super) fn real(dice: &mut Dice, kinds: &[&'static str]) -> Mode {
    let kind = dice.pick(kinds);
    Mode::Real(kind, fields(kind, dice))
}

fn fields(kind: &str, dice: &mut Dice) -> String {
    let (size, time) = (dice.size(), 1 + dice.time() / 1_000);
    let (more, later) = (dice.size(), 1 + dice.time() / 1_000);
    let place = dice.below(20_000);
    match kind {
        "latency" => dice.pick(&[
            format!("delay = '{time}us'"),
            format!("delay = '{time}us'\njitter = '{later}us'"),
            format!("delay = '{later}us'\njitter = '{time}us'\ndistribution = 'normal'"),
            format!("quantiles = {{ p50 = '{time}us', p99 = '{}us' }}", time + later),
            format!("delay = {{ from = '{time}us', to = '{later}us', over = '{}us' }}", time + later),
        ]),
        "bandwidth" => dice.pick(&[
            format!("rate = '{}kB/s'", size + 100),
            format!("rate = '{}kB/s'\nburst = '{more}B'", size + 100),
            format!("rate = '{}kB/s'\nper = 'proxy'", size + 100),
            format!("rate = {{ from = '{}kB/s', to = '{}kB/s', over = '{time}us' }}", size + 100, more + 100),
        ]),
        "cut" => {
            let how = dice.pick(&["fin", "reset", "stall"]);
            dice.pick(&[format!("after = '{place}B'\nhow = '{how}'"), format!("after = '{time}us'\nhow = '{how}'")])
        }
        "reset" => dice.pick(&[
            format!("after = '{place}B'"),
            format!("after = '{time}us'"),
            format!("after = '{place}B'\ndelay = '{later}us'"),
        ]),
        "limit_data" => format!("bytes = '{place}B'"),
        "blackhole" => {
            dice.pick(&[String::new(), format!("idle = '{time}us'"), format!("after = '{time}us'\nidle = '{later}us'")])
        }
        "slicer" => {
            let size = size + 50;
            format!("size = '{size}B'\nvariation = '{}B'\ngap = '{}us'", more % size, time / 50)
        }
        "partition" => format!("how = '{}'", dice.pick(&["hang", "drop", "reject"])),
        "slow_close" => format!("delay = '{time}us'\njitter = '{later}us'"),
        "pad" => format!("min = '{time}us'"),
        "connect" => {
            dice.pick(&[format!("how = 'delay'\ndelay = '{time}us'"), "how = 'hang'".into(), "how = 'refuse'".into()])
        }
        "connection_limit" => format!("max = {}\nhow = '{}'", 1 + size, dice.pick(&["refuse", "hang"])),
        "half_open" | "down" => String::new(),
        "noop" => String::new(),
        "corrupt" => format!("one_per = '{}B'", size + 20),
        "tls" => dice.pick(&["flaw = 'stall'", "flaw = 'slow'\ndelay = '1ms'", "flaw = 'alert'"]).into(),
        "dns" => dice.pick(&["answer = 'nxdomain'", "answer = 'timeout'", "answer = 'slow'\ndelay = '1ms'"]).into(),
        "loss" => {
            let share = 1 + place % 40;
            dice.pick(&[
                format!("share = '{share}%'"),
                format!("share = '{share}%'\nburst = {}", 1 + size % 5),
                format!("p = '{share}%'\nr = '30%'\ngood = '1%'"),
            ])
        }
        other => panic!("no configurations for {other}"),
    }
}
