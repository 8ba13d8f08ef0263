"""The timer on the rented machine itself, which gives it back when its owner is silent: whatever happens at home."""

import shlex
from typing import Final

LONGEST: Final = 4096
"""Characters that Vast takes for a start script."""

_SCRIPT: Final = r"""touch ~/.no_auto_tmux
mkdir -p {place} && cd {place} || exit 1
[ -s limit ] || echo $(( $(date +%s) + {limit} )) > limit
[ -s lease ] || echo $(( $(date +%s) + {lease} )) > lease
cat > deadman.sh <<'END'
# Destroys this machine when the lease that its owner renews has run out. It may do nothing else.
cd {place} || exit 1
while :; do
  now=$(date +%s); lease=$(cat lease 2>/dev/null); limit=$(cat limit 2>/dev/null)
  if [ "$now" -ge "${{lease:-0}}" ] || [ "$now" -ge "${{limit:-0}}" ]; then
    U={url}/api/v0/instances/$CONTAINER_ID/
    if command -v curl >/dev/null; then
      printf 'header = "Authorization: Bearer %s"\n' "$CONTAINER_API_KEY" |
        curl -sS -m 30 -K - -X DELETE -H 'Content-Type: application/json' -d '{{}}' "$U"
    else
      U="$U" python3 -c 'import os,urllib.request as u;u.urlopen(u.Request(os.environ["U"],b"{{}}",{{"Authorization":"Bearer "+os.environ["CONTAINER_API_KEY"],"Content-Type":"application/json"}},method="DELETE"),timeout=30)'
    fi
    sleep {pause}
  fi
  sleep {look}
done
END
setsid nohup sh deadman.sh > deadman.log 2>&1 < /dev/null &
"""


def script(*, place: str, url: str, lease_s: float, limit_s: float, look_s: float = 5) -> str:
    """The start script of a machine.

    It runs again when the machine is started again; the first lease and the limit count from the first time.

    Args:
        place: Folder on the machine, plain characters only.
        url: Of Vast's API.
        lease_s: Seconds until it destroys itself when nobody renews the lease.
        limit_s: Seconds until it does so whatever anybody renews.
        look_s: How often it looks at the time.
    """
    text = _SCRIPT.format(
        place=place, url=shlex.quote(url), lease=max(1, round(lease_s)), limit=max(1, round(limit_s)),
        look=max(1, round(look_s)), pause=max(1, round(4 * look_s)),
    )  # fmt: skip
    assert len(text) <= LONGEST, len(text)
    return text


def renewal(*, place: str, lease_s: float) -> str:
    """The command that renews the lease, by the machine's own clock."""
    return f"cd {place} && echo $(( $(date +%s) + {max(1, round(lease_s))} )) > lease.part && mv lease.part lease"
