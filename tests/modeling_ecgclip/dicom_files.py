"""DICOM ECGs written by pydicom, whose patient is called Zenobia Quux."""

import warnings

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.modeling_ecgclip.recorder_files import LEADS, SCP_CODES


TWELVE_LEADS = "1.2.840.10008.5.1.4.1.1.9.1.1"
SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}


def coded(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def channel(name, number, scheme="SCPECG", unit="uV", **fields):
    item = Dataset()
    code = f"5.6.3-9-{number}" if scheme == "SCPECG" else f"2:{number}"
    item.ChannelSourceSequence = coded(code, scheme, f"Lead {name}")
    item.ChannelSensitivity, item.ChannelSensitivityCorrectionFactor, item.ChannelBaseline = "2.5", "1", "0"
    item.ChannelSensitivityUnitsSequence = coded(unit, "UCUM", unit)
    item.ChannelSampleSkew, item.WaveformBitsStored = "0", 16
    item.FilterLowFrequency, item.FilterHighFrequency, item.NotchFilterFrequency = "0.05", "150", "50"
    for key, value in fields.items():
        if value is None:
            delattr(item, key)
        else:
            setattr(item, key, value)
    return item


def group(codes, rate=500, label="RHYTHM", originality="ORIGINAL", channels=None, interpretation="SS", **fields):
    """A multiplex group; `codes` (leads, samples) of the dtype that is stored."""
    item = Dataset()
    item.WaveformOriginality, item.MultiplexGroupLabel = originality, label
    item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = codes.shape
    item.SamplingFrequency = str(rate)
    if channels is None:
        channels = [channel(name, number) for name, number in zip(LEADS, SCP_CODES, strict=True)][: len(codes)]
    item.ChannelDefinitionSequence = Sequence(channels)
    item.WaveformBitsAllocated = 8 * codes.dtype.itemsize
    item.WaveformSampleInterpretation = interpretation
    item.WaveformData = np.ascontiguousarray(codes.T).tobytes()
    for key, value in fields.items():
        setattr(item, key, value)
    return item


def note(text=None, meaning=None, value=None, unit="ms"):
    item = Dataset()
    item.AnnotationGroupNumber = 0
    if text is not None:
        item.UnformattedTextValue = text
    else:
        item.ConceptNameCodeSequence = coded("5.13.5-7", "SCPECG", meaning)
        item.MeasurementUnitsCodeSequence = coded(unit, "UCUM", unit)
        item.NumericValue = str(value)
    return item


def write_dicom(path, groups, syntax="explicit", notes=(), undefined=False, **fields):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = TWELVE_LEADS, "1.2.3"
    meta.TransferSyntaxUID = SYNTAXES[syntax]
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = TWELVE_LEADS, "1.2.3", "ECG"
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = (
        "Quux^Zenobia",
        "SBJ-77",
        "19530508",
        "F",
    )
    data.AcquisitionDateTime, data.StudyDate, data.InstitutionName = "20021122091000", "20021122", "Ospedali Galliera"
    data.Manufacturer, data.ManufacturerModelName, data.SpecificCharacterSet = "Maker", "Recorder 9", "ISO_IR 192"
    data.WaveformSequence = Sequence(groups)
    if notes:
        data.WaveformAnnotationSequence = Sequence(notes)
    for key, value in fields.items():
        setattr(data, key, value)
    if undefined:
        for element in (*data, *data.WaveformSequence[0]):
            if element.VR == "SQ":
                element.is_undefined_length = True
        for item in data.WaveformSequence:
            item.is_undefined_length_sequence_item = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(path, enforce_file_format=True)
    return path
