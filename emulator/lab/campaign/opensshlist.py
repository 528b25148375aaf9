"""Which of OpenSSH's regression scripts go through the pair, and why the others do not."""

from __future__ import annotations

# What they are about: a connection, and what runs in it.
SCRIPTS = (
    "connect", "connect-privsep", "connect-uri", "proto-version",
    "exit-status", "exit-status-signal", "envpass", "transfer", "banner",
    "rekey", "stderr-data", "stderr-after-eof", "try-ciphers", "yes-head",
    "keyscan", "scp3", "scp-uri", "sftp-cmds", "sftp-badcmds",
    "sftp-batch", "sftp-glob", "sftp-uri", "dynamic-forward", "forwarding", "multiplex",
    "reconfigure", "localcommand", "forcecommand", "kextype", "keytype", "forward-control",
    "integrity", "multipubkey", "limit-keytype", "brokenkeys", "allow-deny-users", "authinfo",
    "hostkey-rotate", "channel-timeout", "dhgex", "cert-file", "cert-hostkey",
    "agent",
)  # fmt: skip
# What they forward leads from 127.0.0.1 at one end to 127.0.0.1 at the other.
ONE_HOST = {
    "agent", "agent-restrict", "dynamic-forward", "forwarding", "forward-control", "multiplex",
}  # fmt: skip
_LOCAL = "opens no connection"
SKIPPED = {
    **dict.fromkeys(
        ("addrmatch", "agent-getpeereid", "agent-ptrace", "agent-subprocess", "agent-timeout",
         "cfginclude", "cfgparse", "keygen-change", "keygen-comment", "keygen-convert",
         "keygen-knownhosts", "keygen-moduli", "keygen-sshfp", "krl", "servcfginclude",
         "broken-pipe", "sshcfgparse", "sshsig"),
        _LOCAL,
    ),
    **dict.fromkeys(
        ("cfgmatchlisten", "cipher-speed", "conch-ciphers", "host-expand", "hostbased",
         "hostkey-agent", "key-options", "keys-command", "knownhosts", "knownhosts-command",
         "percent", "portnum", "principals-command", "putty-ciphers", "putty-kex",
         "putty-transfer", "reexec", "sftp-chroot", "sftp-perm", "sshfp-connect"),
        "not tried: keys, settings, addresses, other clients",
    ),
    "agent-pkcs11": "skips itself: no PKCS#11 token library",
    "agent-restrict": "calls ssh through ssh through ssh; not over after 120 s of a busy host",
    "cert-userkey": "158 connections and not over after 300 s of a busy host; nothing had failed",
    "cfgmatch": "kills a connection's process by its number, which is one of another host's here",
    "proxy-connect": "wants SSH_CONNECTION to be unknown: here there is a connection",
    "connection-timeout": "measures timeouts of a few seconds: an outage upsets it",
    "login-timeout": "measures 10 s of grace against 15 s of its own: an outage upsets it",
    "proto-mismatch": "wants the exit status of sshd itself, not that of the connection to it",
    "sftp": "120,000 round trips of 5 bytes: the better part of an hour here",
    "scp": "its wrapper runs the remote program beside it, without a connection",
}  # fmt: skip
