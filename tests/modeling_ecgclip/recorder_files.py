"""Small writers of recorders' files: known samples in, bytes out. Patients in them are called Zenobia Quux."""

import binascii
import struct

import numpy as np


LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
SCP_CODES = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)
ISHNE_CODES = (5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
# What no reader may let out.
SECRETS = ("Zenobia", "Quux", "SBJ-77", "1953", "05-08", "0508", "2002", "Galliera")


def metadata_of(kind, **stated):
    """Metadata of a record whose file states this and nothing else."""
    unstated = {"device": {}, "measurements": {}, "statements": [], "age_years": None, "sex": None, "filters": {}}
    return {"format": kind} | unstated | stated


def known_codes(n_samples=1000, n_leads=12, limit=2000, seed=0):
    """int16 (leads, samples): a slow wave, spikes, and noise of some codes."""
    generator = np.random.default_rng(seed)
    wave = 300 * np.sin(np.arange(n_samples) / 40 + np.arange(n_leads)[:, None])
    noise = generator.normal(scale=20, size=(n_leads, n_samples))
    codes = wave + noise
    codes[:, ::250] += generator.integers(-limit, limit, (n_leads, 1))
    return np.clip(codes, -limit, limit).astype(np.int16)


# --- SCP-ECG ---------------------------------------------------------------------------------------------------------


def default_codes():
    """Value: bits, of the standard's table; what is not in it has 8 or 16 bits behind a mark."""
    bits = {0: "0"}
    for size in range(1, 9):
        bits[size] = "1" * size + "00"
        bits[-size] = "1" * size + "01"
    return bits


def huffman(values, bits=None, wide=("1111111110", "1111111111")):
    """Bytes of a stream; `wide` are the marks of 8 and 16 bits."""
    bits = default_codes() if bits is None else bits
    stream = []
    for value in map(int, values):
        if value in bits:
            stream.append(bits[value])
        elif -128 <= value < 128:
            stream.append(wide[0] + f"{value & 0xFF:08b}")
        else:
            stream.append(wide[1] + f"{value & 0xFFFF:016b}")
    text = "".join(stream)
    text += "0" * (-len(text) % 16)
    return int(text, 2).to_bytes(len(text) // 8, "big") if text else b""


def differences(samples, order):
    """int16 differences of that order, which wrap; the first values are the samples'."""
    values = samples.astype(np.int64)
    for _ in range(order):
        values = np.concatenate([values[:1], np.diff(values)])
    if order == 2 and len(samples) > 1:
        values[1] = samples[1]
    return values.astype(np.int16)


def thin(samples, zones, factor):
    """Means of `factor` samples outside of the zones (first and last sample from 0, both within)."""
    stored, at = [], 0
    for first, last in [*zones, (len(samples), len(samples))]:
        gap = samples[at:first]
        whole = len(gap) // factor * factor
        stored += [*gap[:whole].reshape(-1, factor).mean(axis=1).round(), *gap[whole:], *samples[first : last + 1]]
        at = last + 1
    return np.array(stored).astype(np.int64)


def scp_section(number, content, checksum=True):
    content = content + b"\0" * (len(content) % 2)
    body = struct.pack("<HI2B6s", number, 16 + len(content), 20, 20, b"SCPECG" if number == 0 else b"") + content
    return struct.pack("<H", binascii.crc_hqx(body, 0xFFFF) if checksum else 0) + body


def scp_rhythm(streams, nanovolts, interval, order, thinned=0):
    header = struct.pack("<HHBB", nanovolts, interval, order, thinned)
    return header + struct.pack(f"<{len(streams)}H", *map(len, streams)) + b"".join(streams)


def scp_leads(ranges, codes, flags=0x04):
    rows = (struct.pack("<IIB", *limits, code) for limits, code in zip(ranges, codes, strict=True))
    return struct.pack("<BB", len(codes), flags) + b"".join(rows)


def scp_patient():
    device = bytearray(36)
    device[8:14] = b"ELI9\0\0"
    device += b"1.0\0SN123\0sys\0scp\0Maker\0"
    fields = {
        0: b"Quux\0",
        1: b"Zenobia\0",
        2: b"SBJ-77\0",
        5: struct.pack("<HBB", 1953, 5, 8),
        8: b"\2",
        14: bytes(device),
        16: b"Ospedale Galliera\0",
        25: struct.pack("<HBB", 2002, 11, 22),
        27: struct.pack("<H", 5),
        28: struct.pack("<H", 150),
        29: b"\2",
    }
    return b"".join(struct.pack("<BH", tag, len(value)) + value for tag, value in fields.items()) + b"\xff\0\0"


def scp_file(sections):
    """A file of these contents by their section's number."""
    parts, at = [], 6 + 16 + 10 * 12
    pointers = [(0, 16 + 120, 7)]
    for number in range(1, 12):
        part = scp_section(number, sections[number]) if number in sections else b""
        pointers.append((number, len(part), at + 1 if part else 0))
        parts.append(part)
        at += len(part)
    first = scp_section(0, b"".join(struct.pack("<HII", *pointer) for pointer in pointers))
    body = struct.pack("<I", at) + first + b"".join(parts)
    return struct.pack("<H", binascii.crc_hqx(body, 0xFFFF)) + body


def scp_simple(codes, order=2, nanovolts=2500, interval=2000, table=b"\x1f\x4e", **sections):
    """Leads of one length in default Huffman codes (or plain ones without a table)."""
    values = [differences(lead, order) for lead in codes]
    streams = [huffman(lead) if table else lead.astype("<i2").tobytes() for lead in values]
    content = {
        1: scp_patient(),
        3: scp_leads([(1, codes.shape[1])] * len(codes), SCP_CODES[: len(codes)]),
        6: scp_rhythm(streams, nanovolts, interval, order),
    }
    content |= {2: table} if table else {}
    return scp_file(content | {int(key[1:]): value for key, value in sections.items()})


def reseal_scp(data):
    """The same bytes with right checksums, as far as sections can be found."""
    data = bytearray(data)
    for at in range(22, min(len(data) - 10, 22 + 120), 10):
        _, size, index = struct.unpack_from("<HII", data, at)
        if 16 < size and 0 < index and index - 1 + size <= len(data):
            struct.pack_into("<H", data, index - 1, binascii.crc_hqx(data[index + 1 : index - 1 + size], 0xFFFF))
    if len(data) > 6:
        struct.pack_into("<I", data, 2, len(data))
        struct.pack_into("<H", data, 0, binascii.crc_hqx(data[2:], 0xFFFF))
    return bytes(data)


# --- EDF -------------------------------------------------------------------------------------------------------------


def edf_file(channels, per_record, duration="1", kind="EDF+C", n_records=None, stamps=None, **fields):
    """
    `channels`: label, unit, physical limits, digital limits, samples (int16 of whole records) of each.

    `per_record`: samples of each in a data record; `stamps`: onset texts of each record, in a channel of 30 samples.
    """
    channels = list(channels)
    counts = list(per_record)
    n = len(channels[0][4]) // counts[0]
    if stamps is not None:
        text = b"".join(f"{stamp}\x14\x14\0".encode().ljust(60, b"\0") for stamp in stamps)
        channels.append(("EDF Annotations", "", (-1, 1), (-32768, 32767), np.frombuffer(text, "<i2")))
        counts.append(30)

    def row(values, width):
        return b"".join(str(value).encode("latin-1").ljust(width)[:width] for value in values)

    patient = fields.get("patient", "SBJ-77 F 08-MAY-1953 Zenobia_Quux")
    recording = fields.get("recording", "Startdate 22-NOV-2002 X Quux Recorder_9")
    header = b"0       " + row([patient, recording], 80) + b"22.11.0209.10.00"
    header += row([256 * (len(channels) + 1)], 8) + row([kind], 44)
    header += row([n if n_records is None else n_records, duration, len(channels)], 8)[:16] + row([len(channels)], 4)
    header += row([c[0] for c in channels], 16) + row([""] * len(channels), 80) + row([c[1] for c in channels], 8)
    for limits, side in ((2, 0), (2, 1), (3, 0), (3, 1)):
        header += row([c[limits][side] for c in channels], 8)
    header += row([fields.get("prefilter", "HP:0.05Hz LP:150Hz N:50Hz")] * len(channels), 80)
    header += row(counts, 8) + row([""] * len(channels), 32)
    blocks = [np.asarray(c[4]).astype("<i2").reshape(n, -1) for c in channels]
    return header + np.concatenate(blocks, axis=1).tobytes()


def edf_simple(codes, rate=250, labels=LEADS, unit="uV", **fields):
    """12 leads of 2.5 uV a code, in data records of one second."""
    n = codes.shape[1] // rate * rate
    limits = ((-81920, 81917.5), (-32768, 32767))
    channels = [(f"ECG {label}", unit, *limits, lead[:n]) for label, lead in zip(labels, codes, strict=False)]
    return edf_file(channels, [rate] * len(channels), **fields)


# --- ISHNE -----------------------------------------------------------------------------------------------------------


def ishne_file(codes, rate=200, nanovolts=2500, lead_codes=ISHNE_CODES, stated=None, comment=b"", checksum=None):
    n = len(codes)
    spec = [*lead_codes[:n], *[-9] * (12 - n)]
    fields = struct.pack(
        "<4ih", len(comment), codes.shape[1] if stated is None else stated, 522, 522 + len(comment), 1
    )
    fields += b"Zenobia".ljust(40, b"\0") + b"Quux".ljust(40, b"\0") + b"SBJ-77".ljust(20, b"\0")
    fields += struct.pack("<2h3h3h3h3h", 2, 1, 8, 5, 1953, 22, 11, 2002, 23, 11, 2002, 9, 10, 0)
    resolutions = np.broadcast_to(nanovolts, n).tolist()
    fields += struct.pack("<h12h12h12h", n, *spec, *[1] * 12, *resolutions, *[-9] * (12 - n))
    fields += struct.pack("<h", 0) + b"Recorder 9".ljust(40, b"\0") + struct.pack("<h", rate) + bytes(248)
    block = fields + comment
    checksum = binascii.crc_hqx(block, 0xFFFF) if checksum is None else checksum
    return b"ISHNE1.0" + struct.pack("<H", checksum) + block + codes.T.astype("<i2").tobytes()


def reseal_ishne(data):
    data = bytearray(data)
    if len(data) > 30:
        end = struct.unpack_from("<i", data, 22)[0]
        struct.pack_into("<H", data, 8, binascii.crc_hqx(data[10 : max(10, end)], 0xFFFF))
    return bytes(data)


# --- MFER ------------------------------------------------------------------------------------------------------------


def tlv(tag, content, channel=None):
    size = bytes([len(content)]) if len(content) < 128 else b"\x84" + struct.pack(">I", len(content))
    return bytes([tag]) + (b"" if channel is None else bytes([channel])) + size + content


def mfer_file(
    codes, order="<", interval=(1, -3, 2), resolution=(0, -9, 2500), blocks=None, head=b"", frames=1, **more
):
    """
    A 12-lead ECG in one block of `blocks` samples a channel and sequence (all of them where it is `None`).

    `interval`: unit, exponent, mantissa; `None` leaves it out. `more`: definitions of each channel by `t<tag>`.
    """
    n, length = codes.shape
    length //= frames
    block = length if blocks is None else blocks

    def number(value, size):
        return int(value).to_bytes(size, "little" if order == "<" else "big", signed=True)

    def scaled(stated):
        return struct.pack("<Bb", stated[0], stated[1]) + number(stated[2], 2)

    data = tlv(0x40, b"MFR Standard 12 leads ECG       ") + tlv(1, b"\1" if order == "<" else b"\0")
    data += tlv(0x17, b"Maker^Recorder 9^1.0^SN123") + tlv(0x81, b"Quux^^Zenobia") + tlv(0x82, b"SBJ-77")
    data += tlv(0x83, b"\0\0\0" + number(1953, 2) + b"\5\x08") + tlv(0x84, b"\2")
    data += tlv(0x85, number(2002, 2) + b"\x0b\x16\x09\x0a\0") + tlv(0x11, b"HPF=0.05") + tlv(8, number(1, 2)) + head
    data += tlv(4, number(block, 4)) + tlv(5, number(n, 2)) + tlv(6, number(length // block, 4))
    data += tlv(11, scaled(interval)) if interval else b""
    data += tlv(12, scaled(resolution)) if resolution else b""
    for channel in range(n):
        definitions = tlv(9, number(SCP_CODES[channel], 2))
        definitions += b"".join(tlv(int(key[1:]), value) for key, value in more.items())
        data += tlv(0x3F, definitions, channel)
    samples = codes.astype(f"{order}i2")
    for frame in range(frames):
        part = samples[:, frame * length : (frame + 1) * length]
        data += tlv(0x1E, part.reshape(n, -1, block).transpose(1, 0, 2).tobytes())
    return data + b"\x80\0"


# --- MATLAB 4 --------------------------------------------------------------------------------------------------------


def matlab4(values, kind=30, order="<"):
    """`values`: arrays by name; `kind`: the type's last two digits, 30 for int16."""
    data = b""
    for name, matrix in values.items():
        text = name.encode() + b"\0"
        dtype = order + ("f8", "f4", "i4", "i2", "u2", "u1")[kind // 10]
        data += struct.pack(f"{order}5i", kind + (1000 if order == ">" else 0), *matrix.shape, 0, len(text)) + text
        data += np.asarray(matrix).astype(dtype).tobytes(order="F")
    return data
