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
    "inferior_scar": ("Área eletricamente inativa diafragmática", "Infarto diafragmático antigo"),
    "anteroseptal_scar": ("Área eletricamente inativa anterosseptal", "Infarto anterosseptal antigo"),
    "anterior_scar": ("Área eletricamente inativa anterior extensa", "Infarto anterior extenso antigo"),
    "lateral_scar": ("Área eletricamente inativa lateral", "Infarto lateral antigo"),
    "posterior_scar": ("Área eletricamente inativa dorsal", "Infarto dorsal antigo"),
    "right_ventricle": ("Sobrecarga de ventrículo direito", "SVD"),
    "left_atrium": ("Sobrecarga de átrio esquerdo", "SAE"),
    "right_atrium": ("Sobrecarga de átrio direito", "SAD"),
    "left_posterior_fascicle": ("Bloqueio divisional posteroinferior", "BDPI"),
    "delta_wave_left": ("Pré-excitação ventricular", "Wolff-Parkinson-White"),
    "delta_wave_right": ("Pré-excitação ventricular", "Wolff-Parkinson-White"),
    "inferior_injury": ("Infarto agudo diafragmático", "Lesão subepicárdica diafragmática"),
    "anterior_injury": ("Infarto agudo anterior", "Lesão subepicárdica anterior"),
    "lateral_injury": ("Infarto agudo lateral", "Lesão subepicárdica lateral"),
    "ischaemia": ("Isquemia subendocárdica", "Lesão subendocárdica"),
    "anterior_t": ("Isquemia subepicárdica anterior",),
    "inferior_t": ("Isquemia subepicárdica diafragmática",),
    "digitalis": ("Ação digitálica", "Impregnação digitálica"),
    "low_potassium": ("Hipopotassemia", "Distúrbio eletrolítico a esclarecer"),
    "high_potassium": ("Hiperpotassemia", "Distúrbio eletrolítico a esclarecer"),
    "pericarditis": ("Pericardite aguda", "Alterações compatíveis com pericardite"),
    "long_qt": ("Repolarização ventricular prolongada",),
    "paced": ("Estimulação ventricular por marca-passo", "Ritmo de marca-passo"),
    "atrial": ("Ritmo atrial ectópico", "Ritmo atrial baixo"),
    "junctional": ("Ritmo juncional", "Ritmo de escape juncional"),
    "ventricular": ("Ritmo idioventricular", "Ritmo ventricular"),
    "svt": ("Taquicardia supraventricular", "Taquicardia paroxística supraventricular"),
    "wenckebach": ("Bloqueio atrioventricular de segundo grau Mobitz I", "BAV de segundo grau tipo Wenckebach"),
    "two_to_one": ("Bloqueio atrioventricular de segundo grau 2:1", "BAV de segundo grau 2:1"),
    "complete_block": ("Bloqueio atrioventricular total", "BAV total"),
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
