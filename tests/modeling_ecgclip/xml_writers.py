"""Writes the XML of recorders, with any detail wrong, and compresses as they do."""

import base64
import struct
import zlib
from xml.sax.saxutils import escape, quoteattr

import numpy as np


LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
STORED_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
# What stands in the documents on the patient and the staff, and must not leave them.
PRIVATE = {
    "last_name": "Rasmussen",
    "first_name": "Ingeborg",
    "patient_id": "PID-77123",
    "birth": "1957-03-21",
    "recorded": "2019-11-05",
    "time": "08:41:37",
    "operator": "Hallvard Strand",
    "hospital": "Fjordside Sjukehus",
}
STATEMENTS = ("Sinus rhythm", "Left bundle branch block")
# Lines that archives put between statements; the first two name a person, the third another recording's date.
LINES_ON_PEOPLE = ("Confirmed by Hallvard Strand (12) on 06-NOV-2019 10:15", "Rasmussen, seen in the ward")
LINE_WITH_DATE = "When compared with ECG of 01-JAN-2018 07:30, no change"


def counts_of_12_leads(n_samples: int = 600, seed: int = 0) -> np.ndarray:
    """(12, samples) whole numbers that obey the algebra of the limb leads as far as whole numbers can."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(-900, 900, (12, n_samples))
    one, two = counts[:2]
    counts[2] = two - one
    counts[3] = -(one + two) // 2
    counts[4] = (one - counts[2]) // 2
    counts[5] = (two + counts[2]) // 2
    return counts


def element(tag: str, content: str = "", **attributes: object) -> str:
    """One element; attributes that are `None` are left out."""
    stated = [f" {key}={quoteattr(str(value))}" for key, value in attributes.items() if value is not None]
    return f"<{tag}{''.join(stated)}>{content}</{tag}>"


def texts(**values: object) -> str:
    """One element for each value that is not `None`."""
    return "".join(element(tag, escape(str(value))) for tag, value in values.items() if value is not None)


def document(body: str, encoding: str = "UTF-8", prolog: str = "") -> bytes:
    """The bytes of a document in an encoding that Python knows, with its byte order mark where it has one."""
    return f'<?xml version="1.0" encoding="{encoding}"?>\n{prolog}{body}'.encode(encoding)


def aecg(
    counts: np.ndarray,
    leads: tuple[str, ...] = LEADS,
    increment: object = "0.002",
    increment_unit: object = "s",
    scale: object = "2.5",
    unit: object = "uV",
    origin: object = "0",
    value_type: object = "SLIST_PQ",
    code: str = "RHYTHM",
    extra: str = "",
) -> bytes:
    """An aECG with one rhythm series, and a representative beat of other values, as a derived series."""
    return document(
        element(
            "AnnotatedECG",
            _aecg_person()
            + element("component", _aecg_series("series", code, counts, leads, increment, increment_unit, scale, unit,
                                                origin, value_type, _aecg_annotations() + _aecg_beat()))
            + extra,
            xmlns="urn:hl7-org:v3",
            **{"xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance"},
        )
    )  # fmt: skip


def _aecg_series(
    tag, code, counts, leads, increment, increment_unit, scale, unit, origin, value_type, rest
) -> str:  # fmt: skip
    time = element("sequence", element("code", code="TIME_ABSOLUTE") + element(
        "value", element("head", value="20191105084137") + element("increment", value=increment, unit=increment_unit),
        **{"xsi:type": "GLIST_TS"},
    ))  # fmt: skip
    sequences = [time]
    for lead, row in zip(leads, counts, strict=True):
        value = (
            element("origin", value=origin, unit=unit)
            + element("scale", value=scale, unit=unit)
            + element("digits", " ".join(map(str, row)))
        )
        name = f"MDC_ECG_LEAD_{lead.upper()}"
        sequences.append(element("sequence", element("code", code=name) + element(
            "value", value, **{"xsi:type": value_type})))  # fmt: skip
    sequence_set = element("sequenceSet", "".join(element("component", one) for one in sequences))
    author = element("author", element("seriesAuthor", element("manufacturedSeriesDevice", texts(
        manufacturerModelName="Recorder 9", softwareName="1.2")) + element(
        "manufacturerOrganization", texts(name="Example Instruments"))))  # fmt: skip
    low_pass = element("controlVariable", element("controlVariable", element(
        "code", code="MDC_ECG_CTL_VBL_ATTR_FILTER_LOW_PASS") + element("component", element(
        "controlVariable", element("code", code="MDC_ECG_CTL_VBL_ATTR_FILTER_CUTOFF_FREQ") + element(
        "value", value="150", unit="Hz")))))  # fmt: skip
    return element(
        tag,
        element("code", code=code) + author + low_pass + element("component", sequence_set) + rest,
    )


def _aecg_beat() -> str:
    duration = _aecg_annotation("MDC_ECG_BEAT", _aecg_annotation("MDC_ECG_TIME_PD_QRS", value="142", unit="ms"))
    rest = element("subjectOf", element("annotationSet", duration))
    beat = np.full((1, 50), 777)
    series = _aecg_series(
        "derivedSeries", "REPRESENTATIVE_BEAT", beat, ("II",), "0.002", "s", "1", "uV", "0", "SLIST_PQ", rest
    )
    return element("derivation", series)


def _aecg_annotation(code: str, inner: str = "", **value: object) -> str:
    content = element("code", code=code) + element("value", **value) + inner
    return element("component", element("annotation", content))


def _aecg_annotations() -> str:
    annotation = _aecg_annotation
    lines = [*STATEMENTS, *LINES_ON_PEOPLE, LINE_WITH_DATE]
    spoken = "".join(
        element("component", element("annotation", element("code", code="MDC_ECG_INTERPRETATION_STATEMENT") + texts(
            value=line)))
        for line in lines
    )  # fmt: skip
    machine = (
        annotation("MDC_ECG_HEART_RATE", value="64", unit="bpm")
        + annotation("MDC_ECG_TIME_PD_QT", value="0.38", unit="s")
        + annotation("MDC_ECG_BEAT", annotation("MDC_ECG_TIME_PD_QRS", value="999", unit="ms"))
        + annotation("MDC_ECG_TIME_PD_PR", value="150", unit="furlong")
        + annotation("MDC_ECG_INTERPRETATION", spoken)
    )
    person = element("author", element("assignedEntity", element("assignedAuthorType", element(
        "assignedPerson", texts(name=PRIVATE["operator"])))))  # fmt: skip
    by_person = annotation("MDC_ECG_HEART_RATE", value="61", unit="bpm")
    return element("subjectOf", element("annotationSet", machine)) + element(
        "subjectOf", element("annotationSet", person + by_person)
    )


def _aecg_person() -> str:
    demographic = element("subjectDemographicPerson", texts(name=f"{PRIVATE['last_name']} {PRIVATE['first_name']}")
        + element("administrativeGenderCode", code="F") + element("birthTime", value="19570321"))  # fmt: skip
    subject = element("subject", element("trialSubject", element("id", extension=PRIVATE["patient_id"]) + demographic))
    return element("effectiveTime", element("center", value="20191105084137")) + element(
        "componentOf", element("timepointEvent", element("componentOf", element("subjectAssignment", subject + element(
            "componentOf", element("clinicalTrial", element("location", element("trialSite", element("location", texts(
                name=PRIVATE["hospital"])))))))))
    )  # fmt: skip


def muse(
    counts: np.ndarray,
    leads: tuple[str, ...] = STORED_LEADS,
    base: object = "500",
    exponent: object = "0",
    scale: object = "4.88",
    unit: object = "MICROVOLTS",
    size: object = "2",
    extra: str = "",
    kind: str = "Rhythm",
    lead_extra: str = "",
    crc: object = "right",
) -> bytes:
    """A MUSE document with the median beat, of other values, before the rhythm, and the archive's document type."""
    median = _muse_waveform("Median", np.full((len(leads), 100), 777), leads, base, exponent, scale, unit, size)
    rhythm = _muse_waveform(kind, counts, leads, base, exponent, scale, unit, size, lead_extra, crc)
    lines = [*STATEMENTS, *LINES_ON_PEOPLE, LINE_WITH_DATE]
    spoken = "".join(
        element("DiagnosisStatement", texts(StmtFlag="ENDSLINE", StmtText=line)) if " " not in line else
        element("DiagnosisStatement", texts(StmtText=line.split(" ", 1)[0]))
        + element("DiagnosisStatement", texts(StmtFlag="ENDSLINE", StmtText=line.split(" ", 1)[1]))
        for line in lines
    )  # fmt: skip
    body = (
        element("MuseInfo", texts(MuseVersion="9.0.0"))
        + element("PatientDemographics", texts(
            PatientID=PRIVATE["patient_id"], PatientAge="62", AgeUnits="YEARS", DateofBirth="03-21-1957",
            Gender="FEMALE", PatientLastName=PRIVATE["last_name"], PatientFirstName=PRIVATE["first_name"]))
        + element("TestDemographics", texts(
            Status="CONFIRMED", SiteName=PRIVATE["hospital"], AcquisitionDevice="MAC55",
            AcquisitionDate="11-05-2019", AcquisitionTime=PRIVATE["time"], OverreaderLastName="Strand",
            OverreaderFirstName="Hallvard"))
        + element("RestingECGMeasurements", texts(VentricularRate="99", QRSDuration="140"))
        + element("OriginalRestingECGMeasurements", texts(VentricularRate="64", QRSDuration="142", PAxis="51"))
        + element("Diagnosis", element("DiagnosisStatement", texts(StmtText="Edited by a doctor")))
        + element("OriginalDiagnosis", spoken)
        + median + rhythm + extra
    )  # fmt: skip
    return document(element("RestingECG", body), "ISO-8859-1", '<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n')


def _muse_waveform(
    kind, counts, leads, base, exponent, scale, unit, size, lead_extra="", crc="right"
) -> str:  # fmt: skip
    data = ""
    for lead, row in zip(leads, counts, strict=True):
        stored = row.astype("<i2").tobytes()
        packed = base64.b64encode(stored).decode()
        data += element("LeadData", texts(
            LeadByteCountTotal=len(stored), LeadTimeOffset="0", LeadSampleCountTotal=len(row),
            LeadAmplitudeUnitsPerBit=scale, LeadAmplitudeUnits=unit, LeadHighLimit="32767", LeadLowLimit="-32768",
            LeadID=lead, LeadOffsetFirstSample="0", FirstSampleBaseline="0", LeadSampleSize=size,
            LeadOff="TRUE" if lead == "V6" else "FALSE",
            LeadDataCRC32=zlib.crc32(stored) if crc == "right" else crc,
            WaveFormData="\n".join(packed[at : at + 76] for at in range(0, len(packed), 76)),
        ) + lead_extra)  # fmt: skip
    return element("Waveform", texts(
        WaveformType=kind, NumberofLeads=len(leads), SampleType="CONTINUOUS_SAMPLES", SampleBase=base,
        SampleExponent=exponent, HighPassFilter="16", LowPassFilter="150", ACFilter="60") + data)  # fmt: skip


def cardiosoft(
    counts: np.ndarray,
    leads: tuple[str, ...] = LEADS,
    rate: object = "500",
    rate_unit: object = "Hz",
    resolution: object = "5",
    resolution_unit: object = "uVperLsb",
    total: object = "right",
    strip: str = "StripData",
    extra: str = "",
    separator: str = ",\n\t\t",
) -> bytes:
    """A CardioSoft document with median samples of other values before the strip."""
    n_samples = counts.shape[1] if total == "right" else total
    waveforms = "".join(
        element("WaveformData", "\n\t\t" + separator.join(map(str, row)), lead=lead)
        for lead, row in zip(leads, counts, strict=True)
    )
    settings = (
        texts(NumberOfLeads=len(leads), ChannelSampleCountTotal=n_samples)
        + element("SampleRate", rate or "", units=rate_unit)
        + element("Resolution", resolution or "", units=resolution_unit)
    )
    median = element("MedianSamples", settings + element("WaveformData", "777,777", lead="I"))
    lines = "".join(texts(DiagnosisText=line) for line in (*STATEMENTS, *LINES_ON_PEOPLE, LINE_WITH_DATE))
    body = (
        texts(ObservationType="RestECG")
        + element("ObservationDateTime", texts(Hour="8", Minute="41", Day="5", Month="11", Year="2019"))
        + element("ClinicalInfo", element("Technician", texts(FamilyName="Strand", GivenName="Hallvard"))
                  + element("DeviceInfo", texts(Desc="CardioSoft", SoftwareVer="6.7")))
        + element("PatientVisit", element("ServicingFacility", texts(Name=PRIVATE["hospital"])))
        + element("PatientInfo", texts(PID=PRIVATE["patient_id"]) + element("Name", texts(
            FamilyName=PRIVATE["last_name"], GivenName=PRIVATE["first_name"])) + element("Age", "62", units="years")
            + element("BirthDateTime", texts(Day="21", Month="3", Year="1957")) + texts(Gender="FEMALE"))
        + element("FilterSetting", texts(Filter50Hz="yes", Filter60Hz="no") + element("LowPass", "40", units="Hz")
                  + element("HighPass", "0.01", units="Hz"))
        + texts(**{"Device-Type": "CASE"})
        + element("Interpretation", element("Diagnosis", lines) + element("Conclusion", texts(
            ConclusionText="Edited by a doctor")))
        + element("RestingECGMeasurements", element("VentricularRate", "64", units="BPM") + element(
            "PQInterval", "150", units="ms") + element("QTInterval", "0.38", units="fortnights") + median)
        + element(strip, settings + waveforms) + extra
    )  # fmt: skip
    return document(element("CardiologyXML", body), "ISO8859-1")


def sierra(
    counts: np.ndarray,
    leads: tuple[str, ...] = LEADS,
    version: str = "1.04",
    encoding: str = "Base64",
    compression: object = None,
    rate: object = "500",
    resolution: object = "5",
    duration: object = "right",
    bits: object = "16",
    signed: object = "True",
    offset: object = "0",
    samples: str | None = None,
    text_encoding: str = "UTF-8",
    acquisition: str = "STD-12",
) -> bytes:
    """A Sierra document; `samples` replaces the encoded waveform."""
    if samples is None:
        packed = xli(counts) if compression else counts.astype("<i2").tobytes()
        samples = " ".join(map(str, counts.ravel())) if encoding == "Plain" else base64.b64encode(packed).decode()
    if duration == "right":
        duration = counts.shape[1] * 1000 // int(rate or 500)
    common = {"dataencoding": encoding, "durationperchannel": duration}
    if version == "1.03":
        common |= {"compressflag": str(bool(compression)), "compressmethod": compression, "nbitspersample": bits}
        signal = texts(samplingrate=rate, signalresolution=resolution, signalbandwidth="0.05-150",
                       acquisitiontype=acquisition, bitspersample=bits, signaloffset=offset, signalsigned=signed,
                       numberchannelsallocated=len(leads))  # fmt: skip
    else:
        common |= {"compression": compression, "numberofleads": len(leads), "leadlabels": " ".join(leads),
                   "samplespersecond": rate, "resolution": resolution, "signaloffset": offset, "signalsigned": signed,
                   "bitspersample": bits, "hipass": "0.05", "lowpass": "150", "notchfiltered": "True",
                   "notchfilterfreqs": "60"}  # fmt: skip
        # As it was when the signal was acquired, before an archive resampled it.
        signal = texts(samplingrate="1000", resolution="1", acquisitiontype="10-WIRE")
    measured = "globalmeasurements" if version != "1.03" else "interpretationmeasurements"
    spoken = "".join(
        element("statement", texts(leftstatement=line, rightstatement="")) for line in
        (*STATEMENTS, *LINES_ON_PEOPLE, LINE_WITH_DATE)
    ) + element("statement", texts(leftstatement="Edited by a doctor"), editedflag="True")  # fmt: skip
    beat = element("repbeats", element("repbeat", element("waveform", base64.b64encode(b"\x09\x03" * 50).decode())))
    body = (
        element("documentinfo", texts(documentname=f"{PRIVATE['patient_id']}.xml", documenttype="PhilipsECG",
                                      documentversion=version))
        + element("dataacquisition", element("machine", "PageWriter", detaildescription="Philips:860315:A.01")
                  + element("acquirer", texts(operatorid=PRIVATE["operator"], institutionname=PRIVATE["hospital"]))
                  + element("signalcharacteristics", signal), date=PRIVATE["recorded"], time=PRIVATE["time"])
        + element("patient", element("generalpatientdata", texts(patientid=PRIVATE["patient_id"]) + element(
            "name", texts(lastname=PRIVATE["last_name"], firstname=PRIVATE["first_name"])) + element(
            "age", texts(dateofbirth=PRIVATE["birth"]), defaultage="50") + texts(sex="Female")))
        + element("interpretations", element("interpretation", element(measured, texts(heartrate="64") + element(
            "qrsdur", "140", editedflag="True", uneditedvalue="142") + element("print", "Failed")
            + texts(meanqrsdur="142")) + spoken + element("severity", "- ABNORMAL ECG -")))
        + element("waveforms", element("parsedwaveforms", samples, **common) + beat)
    )  # fmt: skip
    return document(element("restingecgdata", body, xmlns="http://www3.medical.philips.com"), text_encoding)


def xli(counts: np.ndarray, spare_channels: int = 0) -> bytes:
    """Compresses leads as Philips recorders do, the limb leads as what I and II do not explain."""
    channels = counts.astype(np.int64).copy()
    if len(channels) >= 6:
        one, two, three = counts[0], counts[1], counts[2]
        channels[2] = two - one - three
        channels[3] = -counts[3] - (one + two) // 2
        channels[4] = (one - three) // 2 - counts[4]
        channels[5] = (two + three) // 2 - counts[5]
    chunks = [xli_chunk(channel) for channel in channels]
    return b"".join(chunks + [xli_chunk(np.zeros(counts.shape[1], np.int64))] * spare_channels)


def xli_chunk(samples: np.ndarray) -> bytes:
    """One channel: header and packed second differences, each stored beside the sample before its own."""
    bends = 2 * samples[1:-1] - samples[:-2] - samples[2:]
    stored = np.concatenate((samples[:2], bends[1:] + 64, [64])).astype(np.int16).view(np.uint16)
    packed = lzw((stored >> 8).astype(np.uint8).tobytes() + (stored & 255).astype(np.uint8).tobytes())
    return struct.pack("<iHh", len(packed), 1, bends[0]) + packed


def lzw(content: bytes) -> bytes:
    """Codes of ten bits, the highest first, and the one that ends them."""
    known = {bytes([byte]): byte for byte in range(256)}
    codes = []
    held = b""
    for byte in content:
        longer = held + bytes([byte])
        if longer in known:
            held = longer
            continue
        codes.append(known[held])
        if len(known) <= 1022:
            known[longer] = len(known)
        held = bytes([byte])
    bits = "".join(f"{code:010b}" for code in [*codes, known[held], 1023])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")
