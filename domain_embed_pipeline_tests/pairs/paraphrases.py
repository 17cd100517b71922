"""Questions of the sample data, each with the same question in other words, written by hand before any was measured."""

from __future__ import annotations

PARAPHRASES: tuple[tuple[str, str], ...] = (
    (
        "How many days before bypass surgery is each antiplatelet stopped?",
        "When should antiplatelet drugs be discontinued ahead of a CABG operation?",
    ),
    (
        "Which non-cardiac causes of chest pain do I have to document having considered?",
        "What differential diagnoses outside the heart must be written down for chest pain?",
    ),
    (
        "How are early post-infarct pericarditis and Dressler syndrome distinguished and treated?",
        "Telling Dressler's apart from pericarditis soon after a heart attack, and what to give for each",
    ),
    ("How should breathlessness caused by ticagrelor be handled?", "Managing dyspnoea as a side effect of ticagrelor"),
    (
        "What changes when a patient already on the ward develops ST elevation?",
        "What is different if an inpatient has a STEMI?",
    ),
    (
        "What is needed before calling it a type 2 myocardial infarction?",
        "Criteria for diagnosing a type 2 heart attack",
    ),
    ("What complications show late after CTO PCI?", "Delayed problems following a chronic total occlusion procedure"),
    ("What is done for an inpatient waiting for bypass surgery?", "Care of people on the ward who are listed for CABG"),
    ("How is AF after coronary bypass treated?", "Treatment of atrial fibrillation following a CABG"),
    ("Who can go home on the day of their stent?", "Which patients qualify for same-day discharge after PCI?"),
    (
        "When and how should we raise switching off ICD shocks?",
        "Having the conversation about deactivating a defibrillator",
    ),
    ("What causes inappropriate ICD shocks at Harbour?", "Why do defibrillators here fire when they should not?"),
    (
        "What antibiotic is given before a pacemaker implant?",
        "Which prophylactic antimicrobial do we use when a pacing device is fitted?",
    ),
    (
        "How do I unblock a PICC that won't bleed back?",
        "No blood return from the PICC line, how to clear the occlusion",
    ),
    ("When is milrinone preferred and what dose?", "Indications for milrinone and how much to run it at"),
    (
        "When is nitroprusside used and how is it protected?",
        "Which patients get nitroprusside, and shielding it from light",
    ),
    (
        "What is the home BP target and how is it measured?",
        "How should patients check their blood pressure at home and what value do we aim for?",
    ),
    ("What do I do with INR of 9 and no bleeding?", "Non-bleeding patient whose INR came back as 9, what now?"),
    (
        "Which heart failure patients should I discuss with St Brannoc's for transplant or LVAD?",
        "Who gets referred to St Brannoc's to be considered for a ventricular assist device or a new heart?",
    ),
    (
        "Which congested patients get acetazolamide 500 mg IV rather than another add-on?",
        "When do we choose intravenous acetazolamide over other extra diuretics in fluid overload?",
    ),
    ("What do I do with spironolactone when potassium is 5.7?", "K is 5.7 on an MRA, continue, halve or stop it?"),
    (
        "What do I do if a patient gets tinnitus on high-dose furosemide?",
        "Ringing in the ears during large doses of a loop diuretic, next step?",
    ),
    (
        "When and where is the joint cardiology and renal meeting?",
        "Time and room of the combined heart and kidney MDT",
    ),
    (
        "What potassium and magnesium should I aim for in a CABG patient who goes into AF on day 3?",
        "Electrolyte targets for postoperative atrial fibrillation after bypass grafting",
    ),
    ("What energy is used to cardiovert flutter?", "How many joules for DC shock of atrial flutter?"),
    ("What is the oral digoxin loading schedule for AF?", "How do you load digoxin by mouth in atrial fibrillation?"),
    (
        "How long is a patient observed after a day-case cardioversion and can they drive?",
        "Monitoring time following elective DCCV, and rules about getting behind the wheel",
    ),
    (
        "What blood tests and films does long-term amiodarone need?",
        "Monitoring of patients on chronic amiodarone: bloods and X-rays",
    ),
    ("What is the immediate treatment for torsades de pointes?", "First thing to give in polymorphic VT with long QT"),
    (
        "What INR target applies to a mechanical mitral valve?",
        "Goal INR for metallic prosthesis in the mitral position",
    ),
    (
        "How do I treat pulmonary oedema overnight in severe AS?",
        "Flash oedema at night with tight aortic stenosis, management",
    ),
    ("How long is a patient nil by mouth for TOE?", "Fasting time before a transoesophageal echo"),
)
