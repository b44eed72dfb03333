from modeling_ecgclip.labels_ecgclip import CODE_LABELS, Label


def test_codes_phrases_are_known_in_both_languages_and_others_stand_as_they_are():
    for label in CODE_LABELS:
        assert label.phrase_in("pt") == label.phrase != label.phrase_in("en")
    own = Label("AF", "atrial fibrillation", "flimmernde Grundlinie")
    assert own.phrase_in("pt") == own.phrase_in("en") == "flimmernde Grundlinie"
