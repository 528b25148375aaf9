"""tmsh output as it was published, shortened: what the look-alikes are compared with.

Sources: CONNECTIONS james-denton.com, "F5 connection mirroring" (11.x); PROPERTIES a 13.x listing
in a public troubleshooting note; TRAFFIC_GROUP a public 11.x VE transcript; FAILOVER_STATUS a
public HA guide, captured on 16.0.0.1; HA_MIRROR field names of the REST statistics of a 14.1.2.1
(CiscoTestAutomation/genieparser, test_get_sys_ha_mirror.py); RST_CAUSE a public operator's note;
PERSISTENCE F5's SSL Orchestrator use-case notes, NO_PERSISTENCE genieparser (14.1.2.1);
VIRTUAL F5's container connector documentation (status) and a public parser's test data
(traffic); POOL_MEMBERS a public re-implementation of tmsh, its lines as in public transcripts;
DB a public migration guide; LIST_VIRTUAL a public device configuration, in which `mirror enabled`
(the property's name in F5's tmsh reference) is put, and fastL4 for the profile: no published
configuration with it was found.
"""

CONNECTIONS = """\
Sys::Connections
10.156.11.15:38996   10.156.8.10:3306  10.156.8.15:47670  10.156.11.63:3306  tcp  20  (tmm: 0)  none
10.156.9.43:45829    10.156.8.10:3306  10.156.8.15:47676  10.156.11.63:3306  tcp  11  (tmm: 0)  none
10.156.10.221:60285  10.156.8.10:3306  10.156.8.15:60285  10.156.11.63:3306  tcp  15  (tmm: 0)  none
Total records returned: 3"""

PROPERTIES = """\
Sys::Connections
10.1.10.100:49931 - 10.1.10.60:80 - 10.1.20.70:49931 - 10.1.20.202:80
---------------------------------------------------------------------
  TMM           0
  Type          any
  Acceleration  none
  Neuron Rules  none
  Protocol      tcp
  Idle Time     19
  Idle Timeout  300
  Unit ID       1
  Lasthop       /Common/external 52:54:00:65:ad:80
  Server Nexthop /Common/internal 52:54:00:d4:7d:9f
  Ingress Dest  none
  Virtual Path  10.1.10.60:80
  Conn Id 0

                      ClientSide        ServerSide
  Client Addr  10.1.10.100:49931  10.1.20.70:49931
  Server Addr      10.1.10.60:80    10.1.20.202:80
  Bits In                   5.0K             34.8K
  Bits Out                 35.2K              5.0K
  Packets In                   6                 5
  Packets Out                  6                 6

Total records returned: 1"""

TRAFFIC_GROUP = """\
-------------------------------------------------------------
CM::Traffic-Group
Name                      Device               Status  Next
                                                       Active
-------------------------------------------------------------
traffic-group-1           bigip12ve.localhost  active  false
traffic-group-local-only  -"""

FAILOVER_STATUS = """\
Color    green
Status   ACTIVE
Summary  1/1 active
Details  active for /Common/traffic-group-1"""
# The rows of CM::Failover Connections name these, in this order; "10.10.13.2:1026 ... Ok".
FAILOVER_CONNECTIONS = ("local address", "remote device", "packets received", "last packet", "Ok")

HA_MIRROR_TITLE = "HA Mirror Status"
HA_MIRROR_FIELDS = (
    "buffered", "errors", "l4Mirrorable", "l7Mirrorable", "overflows", "primaryStatus",
    "secondaryStatus", "tmid", "trafficGroup",
)  # fmt: skip

FAILOVER = "Failover active for 0d 01:20:32"

RST_CAUSE = """\
--------------------------------
TCP/IP Reset Cause
RST Cause:                 Count
--------------------------------
Connection limit exceeded     76
Flow expired (sweeper)         1
HA disconnect                 16
No local listener             12
No server selected           377
TCP retransmit timeout        29"""

PERSISTENCE = """\
Sys::Persistent Connections
source-address  10.5.20.129  any:any  198.19.97.10:9090  (tmm: 3)
Total records returned: 1"""

NO_PERSISTENCE = """\
Sys::Persistent Connections
Total records returned: 0"""

VIRTUAL = """\
------------------------------------------------------------------
Ltm::Virtual Server: frontend_173.16.2.2_80
------------------------------------------------------------------
Status
  Availability     : available
  State            : enabled
  Reason           : The virtual server is available
  CMP              : enabled
  CMP Mode         : all-cpus
  Destination      : 173.16.2.2:80

Traffic                             ClientSide  Ephemeral  General
  Bits In                                 8.8K          0        -
  Bits Out                                8.8K          0        -
  Packets In                                24          0        -
  Packets Out                               24          0        -
  Current Connections                        0          0        -"""

POOL_MEMBERS = """\
------------------------------------------------------------------
Ltm::Pool: pool_app
------------------------------------------------------------------
Status
  Availability           : available
  State                  : enabled
  Reason                 : The pool is available
  Monitor                : none
  Minimum Active Members : 0
  Current Active Members : 1

  --------------------------------------------------------------
  | Ltm::Pool Member: 10.0.30.22:22
  --------------------------------------------------------------
  | Status
  |   Availability   : available
  |   State          : enabled
  |   Reason         : Pool member is available
  |
  | Traffic                                  ServerSide  General
  |   Current Connections                     0        -"""

DB = """\
sys db statemirror.secure {
    default-value "disable"
    scf-config "true"
    value "disable"
    value-range "disable enable"
}"""

LIST_VIRTUAL = """\
ltm virtual vs_full_443 {
    destination 10.1.1.10:443
    ip-protocol tcp
    mask 255.255.255.255
    mirror enabled
    pool pool_web_443
    profiles {
        fastL4 { }
    }
    source 0.0.0.0/0
    source-address-translation {
        pool snat_pool_a
        type snat
    }
    translate-address enabled
    translate-port enabled
}"""

UNKNOWN = 'Syntax Error: unexpected argument "garbage"'
NO_VARIABLE = "01020036:3: The requested database variable (failover) was not found."
PROMPT = "root@(BIGIP-OC-02)(cfg-sync In Sync)(Active)(/Common)(tmos)# "
