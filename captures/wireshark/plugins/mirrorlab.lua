-- Wireshark dissectors for mirrorlab's own protocols, and what a merged capture needs.
--
--   mirrorlab        the mirroring channel, TCP 1029 to 1055 (emulator/wire/mirror.py)
--   mirrorlab_hb     network-failover heartbeats, UDP 1026 (emulator/wire/heartbeat.py)
--   mirrorlab_point  of every frame: node and interface, and whether the segment is a
--                    retransmission at this very capture point
--
-- A new mirror message is one entry in MESSAGES; a test compares them with the Python module.
--
-- The channel is put together here, by capture point, and not by TCP's own reassembly: in
-- run.pcapng each segment is seen at four points, which TCP takes for overlapping fragments.
-- Works with the Lua of Wireshark 3.6 to 4.x (5.1 to 5.4): no bit operations, no integer division.

if mirrorlab_loaded then return end -- from two folders at once: the second one would fail
mirrorlab_loaded = true

local PORTS, HEARTBEAT_PORT = "1029-1055", 1026
local HEADER, VERSION, MAX_BODY, MAX_LONG = 12, 1, 512, 65535
local NO_SCALE = 255

local SNAT_KINDS = { [0] = "none", [1] = "automap", [2] = "pool" }
local SIDES = { [0] = "client side", [1] = "server side" }
local PROTOCOLS = { [6] = "TCP", [17] = "UDP" }
local ROLES = { [0] = "standby", [1] = "active" }

-- What a body holds, in order: {field, kind, what it is[, more]}.
--   endpoint  IPv4 address and port     u8, u16, u32  numbers ([4]: their names)
--   text      as long as the u8 field named in [4] said       rest, packet  all that remains
--   address   an IPv4 address     tail  a name, all that remains     maybe  a u8 that may be missing
local MESSAGES = {
    [1] = { "Hello", {
        { "active", "u8", "Role", ROLES }, { "device_length", "u8", "Length of the device's name" },
        { "group_length", "u8", "Length of the traffic group's name" },
        { "device", "text", "Device", "device_length" },
        { "traffic_group", "text", "Traffic group", "group_length" } } },
    [2] = { "ResyncStart", {} },
    [3] = { "ResyncEnd", {} },
    [4] = { "FlowUp", {
        { "client", "endpoint", "Client" }, { "virtual", "endpoint", "Virtual server" },
        { "snat", "endpoint", "SNAT" }, { "member", "endpoint", "Pool member" },
        { "snat_kind", "u8", "SNAT kind", SNAT_KINDS },
        { "idle_timeout", "u32", "Idle timeout (s)" },
        { "name_length", "u8", "Length of the virtual server's name" },
        { "virtual_server", "text", "Virtual server's name", "name_length" },
        { "protocol", "maybe", "Protocol, where it is not TCP", PROTOCOLS } } },
    [5] = { "FlowDown", {
        { "client", "endpoint", "Client" }, { "virtual", "endpoint", "Virtual server" },
        { "protocol", "maybe", "Protocol, where it is not TCP", PROTOCOLS } } },
    [6] = { "Ack", {} },
    [7] = { "Mirrored", { { "segment", "packet", "Mirrored segment" } }, long = true },
    [8] = { "LegBytes", {
        { "client", "endpoint", "Client" }, { "virtual", "endpoint", "Virtual server" },
        { "server_side", "u8", "Connection", SIDES }, { "data", "rest", "Bytes" } }, long = true },
    [9] = { "LegState", {
        { "client", "endpoint", "Client" }, { "virtual", "endpoint", "Virtual server" },
        { "flags", "u8", "Flags" },
        { "snd_wscale", "u8", "Window scale of the peer", { [NO_SCALE] = "none" } },
        { "rcv_wscale", "u8", "Window scale of our own", { [NO_SCALE] = "none" } },
        { "mss", "u16", "MSS" }, { "irs", "u32", "Initial number received, moved up" },
        { "iss", "u32", "Initial number sent, moved up" },
        { "snd_una", "u32", "Oldest number not acknowledged" },
        { "window_edge", "u32", "Up to where the peer lets us send" },
        { "timestamp", "u32", "Our clock (ms)" } } },
    [10] = { "FlowAcks", {
        { "client", "endpoint", "Client" }, { "virtual", "endpoint", "Virtual server" },
        { "by_client", "u32", "Acknowledged by the client" },
        { "by_server", "u32", "Acknowledged by the server" } } },
    [11] = { "PersistUp", {
        { "client_address", "address", "Client" }, { "member", "endpoint", "Pool member" },
        { "timeout", "u32", "Time-out (s)" }, { "of_server", "tail", "Virtual server's name" } } },
    [12] = { "PersistDown", {
        { "client_address", "address", "Client" },
        { "of_server", "tail", "Virtual server's name" } } },
}
local FLAG_BITS = {
    { "server_side", 1, "Server side" }, { "sack", 2, "SACK" }, { "fin", 4, "FIN follows the bytes" },
    { "has_timestamp", 8, "Timestamps in use" },
}
local SIZES = { endpoint = 6, address = 4, u8 = 1, u16 = 2, u32 = 4 }
local TYPE_NAMES = {}
for number, message in pairs(MESSAGES) do TYPE_NAMES[number] = message[1] end

-- Fields ------------------------------------------------------------------------------------

local mirror = Proto("mirrorlab", "mirrorlab mirroring channel")
local f = {
    version = ProtoField.uint8("mirrorlab.version", "Version"),
    type = ProtoField.uint8("mirrorlab.type", "Type", base.DEC, TYPE_NAMES),
    length = ProtoField.uint16("mirrorlab.length", "Body length"),
    sequence = ProtoField.uint32("mirrorlab.sequence", "Sequence number"),
    acknowledged = ProtoField.uint32("mirrorlab.acknowledged", "Acknowledged up to"),
    magic = ProtoField.string("mirrorlab.magic", "Magic"),
    part = ProtoField.bytes("mirrorlab.part", "Part of a message", base.SPACE,
        "bytes of a message that another frame completes, or that came before"),
    source = ProtoField.ipv4("mirrorlab.segment.src", "Source"),
    destination = ProtoField.ipv4("mirrorlab.segment.dst", "Destination"),
    source_port = ProtoField.uint16("mirrorlab.segment.srcport", "Source port"),
    destination_port = ProtoField.uint16("mirrorlab.segment.dstport", "Destination port"),
    seq = ProtoField.uint32("mirrorlab.segment.seq", "Sequence number"),
    ack = ProtoField.uint32("mirrorlab.segment.ack", "Acknowledgement number"),
    tcp_flags = ProtoField.uint8("mirrorlab.segment.flags", "Flags", base.HEX),
    payload = ProtoField.bytes("mirrorlab.segment.payload", "Payload"),
    payload_length = ProtoField.uint16("mirrorlab.segment.len", "Payload length"),
}
local body_fields = {}

local function add_body_field(item)
    local name, kind, label, more = item[1], item[2], item[3], item[4]
    local full = "mirrorlab." .. name
    if body_fields[name] then return end
    local makers = {
        endpoint = ProtoField.ipv4, u8 = ProtoField.uint8, u16 = ProtoField.uint16,
        u32 = ProtoField.uint32, address = ProtoField.ipv4, maybe = ProtoField.uint8,
        text = ProtoField.string, tail = ProtoField.string, rest = ProtoField.bytes,
        packet = ProtoField.bytes,
    }
    local made
    if type(more) == "table" then made = makers[kind](full, label, base.DEC, more)
    else made = makers[kind](full, label) end
    body_fields[name], f["body_" .. name] = made, made
    if kind == "endpoint" then
        local port = ProtoField.uint16(full .. ".port", label .. ", port")
        body_fields[name .. ".port"], f["body_" .. name .. "_port"] = port, port
    end
end

for _, message in pairs(MESSAGES) do
    for _, item in ipairs(message[2]) do add_body_field(item) end
end
for _, bit in ipairs(FLAG_BITS) do
    f["flag_" .. bit[1]] = ProtoField.bool("mirrorlab.flags." .. bit[1], bit[3], 8, nil, bit[2])
end
mirror.fields = f

local malformed = ProtoExpert.new("mirrorlab.malformed", "Malformed mirror message",
    expert.group.MALFORMED, expert.severity.ERROR)
local unknown = ProtoExpert.new("mirrorlab.unknown_type", "Unknown mirror message type",
    expert.group.UNDECODED, expert.severity.WARN)
local missing = ProtoExpert.new("mirrorlab.gap", "Bytes before these were not captured yet",
    expert.group.SEQUENCE, expert.severity.NOTE)
mirror.experts = { malformed, unknown, missing }

local seq_raw, stream_of = Field.new("tcp.seq_raw"), Field.new("tcp.stream")
local interface_id, interface_name = Field.new("frame.interface_id"), Field.new("frame.interface_name")
local eth_src, tcp_len = Field.new("eth.src"), Field.new("tcp.len")
local tcp_syn, tcp_fin, tcp_sport = Field.new("tcp.flags.syn"), Field.new("tcp.flags.fin"), Field.new("tcp.srcport")

local function value(extractor, default)
    local info = extractor()
    if info == nil then return default end
    return info.value
end

-- One direction of one connection at one capture point.
local function place_of(pinfo)
    local source = eth_src()
    return string.format("%s|%s|%d|%s", tostring(value(interface_id, 0)),
        tostring(value(stream_of, 0)), pinfo.src_port, source and tostring(source) or "")
end

-- How far `number` lies ahead of `other` (32-bit serial numbers); negative: behind.
local function ahead(number, other)
    local distance = (number - other) % 4294967296
    if distance >= 2147483648 then return distance - 4294967296 end
    return distance
end

-- Messages out of segments ------------------------------------------------------------------

local streams, frames = {}, {} -- by place; by frame number: what was found on the first pass
local secured = {} -- by place: the channel is in TLS

function mirror.init()
    streams, frames, secured = {}, {}, {}
end

-- Where the next message may begin in data that is none.
local function next_magic(data, from)
    return string.find(data, "ML" .. string.char(VERSION), from, true)
end

-- Append a segment to its stream. Returns how many of its first bytes are old, or nil and
-- whether it has to wait for earlier ones.
local function take(stream, seq, data)
    local offset = stream.next and ahead(seq, stream.next) or 0
    if offset > 0 then
        stream.waiting[seq] = data
        return nil, true
    end
    if stream.next and -offset >= #data then return nil, false end
    stream.buffer = stream.buffer .. string.sub(data, 1 - offset)
    stream.next = (seq + #data) % 4294967296
    return -offset
end

local function take_waiting(stream)
    local found = true
    while found do
        found = false
        for seq, data in pairs(stream.waiting) do
            if ahead(seq, stream.next) <= 0 then
                stream.waiting[seq] = nil
                take(stream, seq, data)
                found = true
                break
            end
        end
    end
end

-- Whether these bytes begin a TLS record.
local function is_tls(data)
    local kind, major = string.byte(data, 1, 2)
    return kind ~= nil and kind >= 20 and kind <= 23 and major == 3
end

-- Cut the whole messages off a stream's buffer: list of {start, length, bad}, start from 0.
local function cut(stream)
    local found, at = {}, 0
    local buffer = stream.buffer
    while #buffer - at >= HEADER do
        local magic, version, kind = string.sub(buffer, at + 1, at + 2), string.byte(buffer, at + 3, at + 4)
        local length = string.byte(buffer, at + 5) * 256 + string.byte(buffer, at + 6)
        local known = MESSAGES[kind]
        local bad
        if magic ~= "ML" or version ~= VERSION then bad = "no mirror message of version " .. VERSION
        elseif length > ((known and known.long) and MAX_LONG or MAX_BODY) then bad = "a body of " .. length .. " bytes" end
        if bad then
            local next_one = next_magic(buffer, at + 2)
            local skipped = (next_one and next_one - 1 or #buffer) - at
            if stream.synchronised then found[#found + 1] = { start = at, length = skipped, bad = bad } end
            at = at + skipped
        else
            if #buffer - at < HEADER + length then break end
            stream.synchronised = true
            found[#found + 1] = { start = at, length = HEADER + length }
            at = at + HEADER + length
        end
    end
    stream.buffer = string.sub(buffer, at + 1)
    return found
end

-- First pass: what this frame completes. {messages = {{at=, length=} or {raw=}, bad=}, note=}
local function examine(tvb, pinfo)
    local place = place_of(pinfo)
    local stream = streams[place]
    local data = tvb:raw(0, tvb:len())
    if secured[place] or (stream == nil and is_tls(data)) then
        secured[place] = true -- statemirror.secure: nothing in it can be read here
        return { messages = {}, note = "tls" }
    end
    if stream == nil then
        -- The capture may begin in the middle of the stream, or this is another protocol.
        local first = next_magic(data, 1)
        if first == nil then return nil end
        stream = { buffer = "", waiting = {}, synchronised = first == 1 }
        streams[place] = stream
    end
    local before = #stream.buffer
    local old, waits = take(stream, value(seq_raw, 0), data)
    if old == nil then
        return { messages = {}, note = waits and "gap" or "again" }
    end
    local fresh = before + #data - old
    take_waiting(stream)
    local whole, entry = stream.buffer, { messages = {} }
    for _, message in ipairs(cut(stream)) do
        local inside = message.start >= before and message.start + message.length <= fresh
        local kept = { bad = message.bad, length = message.length }
        if inside then kept.at = message.start - before + old
        else kept.raw = string.sub(whole, message.start + 1, message.start + message.length) end
        entry.messages[#entry.messages + 1] = kept
    end
    return entry
end

-- A message's tree ---------------------------------------------------------------------------

local function add_segment(tree, range)
    local packet = range:tvb()
    if range:len() < 40 then return false end
    local header = (range(0, 1):uint() % 16) * 4
    if header < 20 or range:len() < header + 20 then return false end
    local tcp = math.floor(range(header + 12, 1):uint() / 16) * 4
    if tcp < 20 or range:len() < header + tcp then return false end
    tree:add(f.source, range(12, 4))
    tree:add(f.source_port, range(header, 2))
    tree:add(f.destination, range(16, 4))
    tree:add(f.destination_port, range(header + 2, 2))
    tree:add(f.seq, range(header + 4, 4))
    tree:add(f.ack, range(header + 8, 4))
    tree:add(f.tcp_flags, range(header + 13, 1))
    local payload = range:len() - header - tcp
    tree:add(f.payload_length, range(header + 12, 1), payload):set_generated()
    if payload > 0 then tree:add(f.payload, range(header + tcp, payload)) end
    return true, string.format("%s:%d > %s:%d seq %.0f, %d bytes", tostring(range(12, 4):ipv4()),
        range(header, 2):uint(), tostring(range(16, 4):ipv4()), range(header + 2, 2):uint(),
        range(header + 4, 4):uint(), payload)
end

-- Returns what is wrong with the body (nil: nothing) and words for the Info column.
local function add_body(tree, body, kind)
    local at, read, words = 0, {}, {}
    for _, item in ipairs(MESSAGES[kind][2]) do
        local name, how = item[1], item[2]
        local size = SIZES[how] or (how == "text" and read[item[4]]) or body:len() - at
        if how == "maybe" then size = math.min(1, body:len() - at) end
        if at + size > body:len() then return "the body ends before " .. name, words end
        local field = body_fields[name]
        if how == "endpoint" then
            tree:add(field, body(at, 4))
            tree:add(body_fields[name .. ".port"], body(at + 4, 2))
            if #words < 2 then
                words[#words + 1] = tostring(body(at, 4):ipv4()) .. ":" .. body(at + 4, 2):uint()
            end
        elseif how == "packet" then
            local segment = tree:add(field, body(at, size))
            local fine, text = add_segment(segment, body(at, size))
            if not fine then return "the mirrored segment is no TCP segment", words end
            words[#words + 1] = text
        elseif size > 0 then
            local added = tree:add(field, body(at, size))
            if SIZES[how] then read[name] = body(at, size):uint() end
            if how == "text" or how == "tail" then words[#words + 1] = body(at, size):string() end
            if name == "flags" then
                for _, bit in ipairs(FLAG_BITS) do added:add(f["flag_" .. bit[1]], body(at, 1)) end
            end
        end
        at = at + size
    end
    if at < body:len() then return (body:len() - at) .. " bytes too many", words end
    return nil, words
end

-- One message; `range` begins at its header. Returns words for the Info column.
local function add_message(tree, range)
    local kind, length = range(3, 1):uint(), range(4, 2):uint()
    local name = TYPE_NAMES[kind] or ("type " .. kind)
    local sub = tree:add(mirror, range, "Mirror message: " .. name)
    sub:add(f.magic, range(0, 2))
    sub:add(f.version, range(2, 1))
    sub:add(f.type, range(3, 1))
    sub:add(f.length, range(4, 2))
    sub:add(kind == 6 and f.acknowledged or f.sequence, range(8, 4))
    if not MESSAGES[kind] then
        sub:add_proto_expert_info(unknown)
        return name
    end
    if kind == 6 then return string.format("Ack %.0f", range(8, 4):uint()) end
    local wrong, words = nil, {}
    if length > 0 then wrong, words = add_body(sub, range(HEADER, length), kind)
    elseif #MESSAGES[kind][2] > 0 then wrong = "no body" end
    if wrong then sub:add_proto_expert_info(malformed, name .. ": " .. wrong) end
    return #words > 0 and (name .. " " .. table.concat(words, " ")) or name
end

function mirror.dissector(tvb, pinfo, root)
    if tvb:len() == 0 then return 0 end
    local entry = frames[pinfo.number]
    if not pinfo.visited then
        entry = examine(tvb, pinfo)
        frames[pinfo.number] = entry
    end
    if entry == nil then return 0 end
    pinfo.cols.protocol = "Mirroring"
    if entry.note == "tls" then
        root:add(mirror, tvb(), "Mirroring channel: in TLS"):add(f.part, tvb())
        pinfo.cols.info = "[in TLS: statemirror.secure]"
        return tvb:len()
    end
    local words = {}
    for _, message in ipairs(entry.messages) do
        local range
        if message.at then range = tvb(message.at, message.length)
        else range = ByteArray.new(message.raw, true):tvb("Mirror message")() end
        if message.bad then
            local sub = root:add(mirror, range, "Mirroring channel: not a message")
            sub:add_proto_expert_info(malformed, message.bad)
            words[#words + 1] = "[malformed]"
        else words[#words + 1] = add_message(root, range) end
    end
    if #words == 0 then
        local sub = root:add(mirror, tvb(), "Mirroring channel: part of a message")
        sub:add(f.part, tvb())
        if entry.note == "gap" then sub:add_proto_expert_info(missing) end
        words[1] = entry.note == "again" and "[sent again]" or "[part of a message]"
    end
    pinfo.cols.info = table.concat(words, ", ")
    return tvb:len()
end

DissectorTable.get("tcp.port"):add(PORTS, mirror)

-- Heartbeats ---------------------------------------------------------------------------------

local heartbeat = Proto("mirrorlab_hb", "mirrorlab network-failover heartbeat")
local h = {
    magic = ProtoField.string("mirrorlab_hb.magic", "Magic"),
    version = ProtoField.uint8("mirrorlab_hb.version", "Version"),
    active = ProtoField.uint8("mirrorlab_hb.active", "Role", base.DEC, ROLES),
    resigned = ProtoField.bool("mirrorlab_hb.resigned", "Told to stand by", 8, nil, 1),
    heir = ProtoField.bool("mirrorlab_hb.heir", "Will take over from the peer", 8, nil, 2),
    takeovers = ProtoField.uint8("mirrorlab_hb.takeovers", "Times it became active", base.DEC, nil, 0xfc),
    order = ProtoField.uint8("mirrorlab_hb.order", "Place in the HA order"),
    sequence = ProtoField.uint32("mirrorlab_hb.sequence", "Sequence number"),
    device = ProtoField.string("mirrorlab_hb.device", "Device"),
    counter = ProtoField.uint64("mirrorlab_hb.counter", "Counter against replays"),
    tag = ProtoField.bytes("mirrorlab_hb.tag", "Authentication (HMAC-SHA256)"),
}
heartbeat.fields = h
local no_heartbeat = ProtoExpert.new("mirrorlab_hb.malformed", "Malformed heartbeat",
    expert.group.MALFORMED, expert.severity.ERROR)
heartbeat.experts = { no_heartbeat }

function heartbeat.dissector(whole, pinfo, root)
    pinfo.cols.protocol = "Heartbeat"
    local tree, tvb = root:add(heartbeat, whole()), whole
    if whole:len() > 44 and whole:raw(0, 2) == "HS" then -- failover.secure
        tree:add(h.counter, whole(4, 8))
        tree:add(h.tag, whole(whole:len() - 32, 32))
        tvb = whole(12, whole:len() - 44):tvb()
    end
    local short = tvb:len() < 10 or tvb:len() > 256
    if short or tvb:raw(0, 2) ~= "HB" or tvb(2, 1):uint() ~= 1 or tvb(3, 1):uint() > 1 then
        tree:add_proto_expert_info(no_heartbeat)
        pinfo.cols.info = "[malformed heartbeat]"
        return whole:len()
    end
    tree:add(h.magic, tvb(0, 2))
    tree:add(h.version, tvb(2, 1))
    tree:add(h.active, tvb(3, 1))
    tree:add(h.resigned, tvb(4, 1))
    tree:add(h.heir, tvb(4, 1))
    tree:add(h.takeovers, tvb(4, 1))
    tree:add(h.order, tvb(5, 1))
    tree:add(h.sequence, tvb(6, 4))
    local device = ""
    if tvb:len() > 10 then
        tree:add(h.device, tvb(10))
        device = tvb(10):string()
    end
    local resigned = tvb(4, 1):uint() % 2 == 1 and ", told to stand by" or ""
    pinfo.cols.info = string.format("%s is %s%s", device, ROLES[tvb(3, 1):uint()], resigned)
    return whole:len()
end

DissectorTable.get("udp.port"):add(HEARTBEAT_PORT, heartbeat)

-- Every frame's capture point ----------------------------------------------------------------

local point = Proto("mirrorlab_point", "mirrorlab capture point")
local p = {
    node = ProtoField.string("mirrorlab_point.node", "Node"),
    interface = ProtoField.string("mirrorlab_point.interface", "Interface"),
    retransmission = ProtoField.bool("mirrorlab_point.retransmission",
        "Seen before at this capture point"),
}
point.fields = p
local again = ProtoExpert.new("mirrorlab_point.again", "Retransmission, seen at this capture point",
    expert.group.SEQUENCE, expert.severity.NOTE)
point.experts = { again }
local reached, repeats = {}, {} -- by place: highest sequence number; frames that repeat

function point.init()
    reached, repeats = {}, {}
end

local function is_repeat(pinfo)
    local seq, length = value(seq_raw, nil), value(tcp_len, 0)
    if seq == nil then return false end
    length = length + (value(tcp_syn, false) and 1 or 0) + (value(tcp_fin, false) and 1 or 0)
    if length == 0 then return false end
    local place, last = place_of(pinfo), seq + length
    if reached[place] and ahead(last, reached[place]) <= 0 then return true end
    reached[place] = last
    return false
end

function point.dissector(tvb, pinfo, root)
    local name = value(interface_name, nil)
    if name == nil then return end
    if not pinfo.visited and is_repeat(pinfo) then repeats[pinfo.number] = true end
    local node, interface = string.match(name, "^([^ :]+)[ :](.+)$")
    if node == nil then return end
    local tree = root:add(point, "Capture point: " .. name)
    tree:add(p.node, node):set_generated()
    tree:add(p.interface, interface):set_generated()
    if repeats[pinfo.number] then
        tree:add(p.retransmission, true):set_generated()
        tree:add_proto_expert_info(again)
    end
end

register_postdissector(point)
