"""
What Portuguese conclusions say, as data: names of findings.

No word of meaning is also in a description: what the conclusion names (rhythm, block, chamber, ...) the description
must not say. So the description says "batimentos prematuros" and the conclusion "extrassístoles", the one "esquerda"
and the other "esquerdo". A test holds this for whole cohorts.
"""

CONCLUSIONS = {
    "1dAVb": (
        "Bloqueio atrioventricular de primeiro grau",
        "Bloqueio atrioventricular de 1º grau",
        "BAV de 1º grau",
        "BAV de primeiro grau",
        "Bloqueio AV de 1o grau",
    ),
    "RBBB": (
        "Bloqueio de ramo direito",
        "Bloqueio completo de ramo direito",
        "Bloqueio do ramo direito",
        "BRD",
        "BRD completo",
    ),
    "LBBB": (
        "Bloqueio de ramo esquerdo",
        "Bloqueio completo de ramo esquerdo",
        "Bloqueio do ramo esquerdo",
        "BRE",
        "BRE completo",
    ),
    "SB": ("Bradicardia sinusal", "Ritmo sinusal bradicárdico", "Bradicardia de origem sinusal"),
    "AF": (
        "Fibrilação atrial",
        "Ritmo de fibrilação atrial",
        "FA",
        "Fibrilação atrial com resposta ventricular controlada",
    ),
    "ST": ("Taquicardia sinusal", "Ritmo sinusal taquicárdico", "Taquicardia de origem sinusal"),
    "flutter": ("Flutter atrial", "Flutter atrial típico"),
    "unclear": ("Arritmia supraventricular a esclarecer", "Arritmia de origem indeterminada"),
    "incomplete_rbbb": (
        "Distúrbio de condução do ramo direito",
        "Bloqueio incompleto de ramo direito",
        "Atraso de condução pelo ramo direito",
    ),
    "incomplete_lbbb": ("Bloqueio incompleto de ramo esquerdo", "Distúrbio de condução do ramo esquerdo"),
    "conduction_delay": (
        "Distúrbio de condução intraventricular",
        "Retardo inespecífico da condução intraventricular",
    ),
    "ventricular_ectopics": (
        "Extrassístoles ventriculares",
        "Extrassistolia ventricular",
        "Extrassístole ventricular isolada",
    ),
    "supraventricular_ectopics": (
        "Extrassístoles supraventriculares",
        "Extrassistolia supraventricular",
        "Extrassístoles atriais",
    ),
    "sinus_arrhythmia": ("Arritmia sinusal", "Arritmia sinusal respiratória"),
    "hypertrophy": ("Sobrecarga de ventrículo esquerdo", "SVE", "Sobrecarga do ventrículo esquerdo"),
    "low_voltage": ("Baixa voltagem generalizada", "Efeito dielétrico"),
    "left_fascicle": ("Bloqueio divisional anterossuperior", "BDAS", "Hemibloqueio anterior esquerdo"),
    "repolarisation": (
        "Alterações inespecíficas da repolarização ventricular",
        "Alteração da repolarização ventricular",
        "Alterações da repolarização",
    ),
    "early_repolarisation": ("Repolarização precoce", "Aspecto de repolarização precoce"),
    "long_qtc": ("Repolarização ventricular prolongada",),
}
CONCLUSION_RHYTHM = ("Ritmo sinusal", "Ritmo sinusal regular", "Sinusal")
CONCLUSION_CLEAR = (
    "Eletrocardiograma sem anormalidades",
    "ECG nos padrões de normalidade",
    "Eletrocardiograma compatível com a normalidade",
    "Exame sem achados patológicos",
)
CONCLUSION_TITLES = ("Conclusão:", "Conclusão:", "Conclusão:", "Conclusão :", "CONCLUSÃO:", "Conclusões:")
